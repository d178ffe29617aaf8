"""docs/awsdet.md: whatever AWSDet has is named, and what it is here exists."""

import re
from pathlib import Path

import pytest

from configs.reference import reference

PAGE = (Path(__file__).parents[1] / "docs" / "awsdet.md").read_text()

# Collected from AWSDet's source at commit 0a852ba: the keys in all files below configs/ and the
# parameters of what these build; the classes below utils/runner/hooks and core/evaluation that
# register; add_argument in tools/; the files of scripts/ and tools/.
KEYS = """
_overwrite_ add_extra_convs allow_low_quality_matches alpha amp_enabled anchor_ratios
anchor_scales anchor_strides backbone base_files bbox_head bbox_roi_extractor by_epoch channels
checkpoint_config coco custom_mpi_options data data_root dataset_cfg dataset_dir dataset_type debug
depth distributions docker_image end_level evaluation extra_convs_on_inputs feat_channels figsize
flip_ratio freeze_patterns gamma gradient_clip hidden_dim hvd_instance_count hvd_instance_type
hvd_processes_per_host image_interval image_mean image_std imgs_per_gpu in_channels
interpolation_method interval iou_thresholds job_name label_smoothing learning_rate load_from
log_config log_dir log_level lr_config mask mask_roi_extractor mask_size max_fg max_instances mean
min_confidence min_lr model model_name momentum mpi mpi_options neck neg_iou_thr nesterov
nms_threshold norm_type num_classes num_outs num_post_nms_test num_post_nms_train num_pre_nms
num_pre_nms_test num_pre_nms_train num_rcnn_deltas num_rois num_samples num_stages
octave_base_scale optimizer optimizer_config out_channels out_dir outdir output_path pad_mode policy
pool_shape pool_size pool_type pos_iou_thr positive_fraction power preproc_mode pretrained
processes_per_host reg_class_agnostic resume_from run_every_epoch run_on_sagemaker run_steps
s3_bucket s3_dir s3_path sagemaker sagemaker_job sagemaker_user save_optimizer scale
scales_per_octave soft_nms_sigma stacked_convs stage_loss_weights start_level std step subset
sync_bn target_lr target_means target_stds test test_cfg threshold top_k total_epochs train
train_cfg type use_bias use_bn use_conv use_smooth_l1 use_tf_crop_and_resize user_id val warmup
warmup_iters warmup_ratio weight_decay weights weights_path work_dir workflow
HOROVOD_CYCLE_TIME HOROVOD_FUSION_THRESHOLD NCCL_TREE_THRESHOLD TF_CUDNN_USE_AUTOTUNE
""".split()
HOOKS = """
CheckpointHook CocoDistEvalRecallHook CocoDistEvalmAPHook CosineLrUpdaterHook DistEvalHook
ExpLrUpdaterHook FixedLrUpdaterHook Hook InvLrUpdaterHook IterTimerHook LoggerHook LrUpdaterHook
PolyLrUpdaterHook Profiler StepLrUpdaterHook TensorboardLoggerHook TextLoggerHook Visualizer
WeightsMonitorHook
""".split()
SCRIPTS = """
build_docker_sagemaker.sh prep_data_s3.sh train_ec2_single_node.sh coco_error_analysis.py
coco_eval.py launch_sagemaker_job.py test.py train.py
""".split()
FLAGS = """
--amp --ann --autoscale-lr --classwise --config --deterministic --eval --gpu_id --job_config
--job_name --json_out --local_rank --max-dets --model_config --model_dir --out --resume_dir
--resume_from --s3_path --seed --tmpdir --types --validate --wait_for_job --work_dir
""".split()


@pytest.mark.parametrize(
    "names", [KEYS, HOOKS, SCRIPTS, FLAGS], ids=["key", "hook", "script", "flag"]
)
def test_all_that_awsdet_has_is_named(names):
    there = [line.split(" | ")[0] for line in PAGE.splitlines() if line.startswith("| ")]
    code = " ".join(span for cell in there for span in re.findall(r"`([^`]+)`", cell))
    words = set(re.findall(r"--[\w-]+|[\w-]+\.(?:py|sh)|\w+", code))
    assert [name for name in names if name not in words] == []


def test_settings_named_for_it_exist():
    keys, section = {"base"}, ""
    for line in reference().splitlines():
        if title := re.match(r"## `(.*)`|## top level", line):
            section = f"{title[1]}." if title[1] else ""
            keys.add(title[1])
        elif row := re.match(r"\| `(\w+)` \|", line):
            keys.add(f"{section}{row[1]}")
    here = [line.split(" | ")[1] for line in PAGE.splitlines() if line.count(" | ") >= 1]
    settings = r"`((?:data|transform|input|model|train|evaluate|push|pipeline)\.[\w.]+)"
    named = {name for cell in here for name in re.findall(settings, cell)}
    assert len(named) > 60
    assert sorted(named - keys) == []
