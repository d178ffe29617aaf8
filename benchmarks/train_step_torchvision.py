"""The peer of train_step.py: steps of torchvision's detectors, for a Python that has it.

Reads a number of steps a line from standard input, does them, and answers with their CPU and wall
seconds as JSON. The model is torchvision's own, with frozen batch norm and the last three stages
of the backbone trained, as its references train it; weights are random.
"""

import argparse
import json
import sys
import time

import torch
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d


def main() -> None:
    """Answers to every line until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--case", required=True, help="npz file of the pictures and boxes")
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--num-classes", type=int, required=True)
    parser.add_argument("--masks", action="store_true")
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)

    import numpy as np  # After torch, which would else warn of its thread settings.

    case = np.load(options.case)
    images = [torch.from_numpy(picture).permute(2, 0, 1) / 255.0 for picture in case["images"]]
    height, width = case["images"].shape[1:3]
    targets = [
        {
            "boxes": torch.from_numpy(boxes[:, [1, 0, 3, 2]].copy()),
            "labels": torch.from_numpy(classes.astype("int64")),
        }
        for boxes, classes in zip(case["boxes"], case["classes"], strict=True)
    ]
    if options.masks:
        for target in targets:
            masks = torch.zeros(len(target["boxes"]), height, width, dtype=torch.uint8)
            for mask, (x0, y0, x1, y1) in zip(masks, target["boxes"].int(), strict=True):
                mask[y0:y1, x0:x1] = 1
            target["masks"] = masks
    backbone = resnet_fpn_backbone(
        backbone_name=options.backbone,
        weights=None,
        norm_layer=FrozenBatchNorm2d,
        trainable_layers=3,
    )
    kind = MaskRCNN if options.masks else FasterRCNN
    sizes = {"min_size": int(min(height, width)), "max_size": int(max(height, width))}
    model = kind(backbone, options.num_classes + 1, **sizes).train()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(weights, 0.0001, momentum=0.9, weight_decay=0.0001)
    for line in sys.stdin:
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(int(line)):
            loss = sum(model(images, targets).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
        answer = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
