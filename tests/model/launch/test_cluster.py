"""The hosts of a run, from what each kind of orchestrator puts into the environment."""

import json
import re
from pathlib import Path

import pytest
import yaml

from ground.errors import ConfigError
from model.launch.cluster import Cluster, cluster_from_environment


def tf_config(role: str, index: int, **cluster: list[str]) -> dict[str, str]:
    task = {"type": role, "index": index}
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task, "environment": "cloud"})}


def indexed_job(index: str, hosts: str, pattern: str = "coco-{index}.coco") -> dict[str, str]:
    return {
        "JOB_COMPLETION_INDEX": index,
        "TFX_RCNN_NUM_HOSTS": hosts,
        "TFX_RCNN_HOST_PATTERN": pattern,
    }


def sagemaker(hosts: str, current: str, **more: str) -> dict[str, str]:
    return {"SM_HOSTS": hosts, "SM_CURRENT_HOST": current, **more}


@pytest.mark.parametrize(
    "environ", [{}, {"TF_CONFIG": ""}, {"TF_CONFIG": "{}"}, {"JOB_COMPLETION_INDEX": "3",
    "TFX_RCNN_NUM_HOSTS": "1"}, {"TFX_RCNN_PORT": "7000"}]
)  # fmt: skip
def test_without_other_hosts_this_one_is_alone(environ):
    cluster = cluster_from_environment(environ)
    assert cluster == Cluster()
    assert cluster.is_chief
    assert cluster.workers_per_host(3) == 3


@pytest.mark.parametrize(
    ("environ", "hosts", "index"),
    [
        (tf_config("worker", 1, worker=["a:1", "b:2"]), ("a:1", "b:2"), 1),
        # TFJob: the chief comes before worker 0; the evaluator is no part of the training.
        (tf_config("chief", 0, worker=["w-0:9", "w-1:9"], chief=["c-0:9"], evaluator=["e:9"]),
         ("c-0:9", "w-0:9", "w-1:9"), 0),
        (tf_config("worker", 1, worker=["w-0:9", "w-1:9"], chief=["c-0:9"]),
         ("c-0:9", "w-0:9", "w-1:9"), 2),
        (tf_config("worker", 0, worker=["w-0:9"], master=["m-0:9"]), ("m-0:9", "w-0:9"), 1),
        ({"TFX_RCNN_HOSTS": "10.0.0.1, 10.0.0.2:7000", "TFX_RCNN_HOST_INDEX": "1"},
         ("10.0.0.1:2222", "10.0.0.2:7000"), 1),
        ({"TFX_RCNN_HOSTS": "[fd00::1],b", "TFX_RCNN_HOST_INDEX": "0", "TFX_RCNN_PORT": "5"},
         ("[fd00::1]:5", "b:5"), 0),
        (indexed_job("2", "3"), ("coco-0.coco:2222", "coco-1.coco:2222", "coco-2.coco:2222"), 2),
        (sagemaker('["algo-1", "algo-2"]', "algo-2"), ("algo-1:2222", "algo-2:2222"), 1),
        # Two that agree: AWS's TensorFlow container sets both, TF_CONFIG with its own port.
        ({**sagemaker('["algo-1", "algo-2"]', "algo-1"),
          **tf_config("worker", 0, worker=["algo-1:8890", "algo-2:8890"])},
         ("algo-1:2222", "algo-2:2222"), 0),
        ({**sagemaker('["algo-1", "algo-2"]', "algo-2"),
          **tf_config("worker", 1, worker=["algo-1:8890", "algo-2:8890"])},
         ("algo-1:2222", "algo-2:2222"), 1),
        ({**sagemaker('["algo-1"]', "algo-1"), **tf_config("worker", 0, worker=["algo-1:8890"])},
         ("algo-1:2222",), 0),
        # That of an instance group, which need not be sorted.
        ({**sagemaker('["algo-1", "algo-2"]', "algo-2"),
          **tf_config("worker", 0, worker=["algo-2:8890", "algo-1:8890"])},
         ("algo-1:2222", "algo-2:2222"), 1),
        # Kubernetes' index says nothing where hosts are named with an index of their own.
        ({**tf_config("worker", 1, worker=["a:1", "b:2"]), "JOB_COMPLETION_INDEX": "5"},
         ("a:1", "b:2"), 1),
        ({"TFX_RCNN_HOSTS": "a,b", "TFX_RCNN_HOST_INDEX": "1", "JOB_COMPLETION_INDEX": "5"},
         ("a:2222", "b:2222"), 1),
    ],
)  # fmt: skip
def test_each_source_names_hosts_and_this_one(environ, hosts, index):
    cluster = cluster_from_environment(environ)
    assert (cluster.hosts, cluster.index) == (hosts, index)
    assert cluster.is_chief == (index == 0)


def test_sagemaker_counts_the_gpus():
    environ = sagemaker('["algo-1", "algo-2"]', "algo-1", SM_NUM_GPUS="8")
    assert cluster_from_environment(environ).gpus == 8
    both = {**environ, **tf_config("worker", 0, worker=["algo-1:1", "algo-2:1"])}
    assert cluster_from_environment(both).gpus == 8


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"TF_CONFIG": "{oops"}, r"TF_CONFIG: not JSON"),
        ({"TF_CONFIG": "[1]"}, r"TF_CONFIG: expected an object .*, got '\[1\]'"),
        ({"TF_CONFIG": '{"cluster": ["a:1"]}'}, r"TF_CONFIG: expected an object with a cluster"),
        (tf_config("worker", 2, worker=["a:1", "b:1"]),
         r"TF_CONFIG: task 'worker' 2 is not among the tasks of its cluster, worker 0, worker 1"),
        (tf_config("chief", 0, worker=["a:1"]), r"TF_CONFIG: task 'chief' 0 is not among"),
        (tf_config("worker", 0, worker=["a:1"], ps=["b:1"]), r"TF_CONFIG: names parameter servers"),
        (tf_config("evaluator", 0, worker=["a:1"]), r"TF_CONFIG: this task is an evaluator"),
        (tf_config("worker", 0, worker=["a b:1"]), r"TF_CONFIG: 'a b:1' is neither a host's name"),
        ({"TFX_RCNN_HOSTS": "a,b"}, r"TFX_RCNN_HOST_INDEX: TFX_RCNN_HOSTS is set, so it must be"),
        ({"TFX_RCNN_HOSTS": "a,b", "TFX_RCNN_HOST_INDEX": "2"},
         r"TFX_RCNN_HOST_INDEX is 2, but TFX_RCNN_HOSTS makes 2 hosts"),
        ({"TFX_RCNN_HOSTS": "a,,b", "TFX_RCNN_HOST_INDEX": "0"}, r"TFX_RCNN_HOSTS: '' is neither"),
        ({"JOB_COMPLETION_INDEX": "0"}, r"TFX_RCNN_NUM_HOSTS: .*or 1 where each trains alone"),
        ({"TFX_RCNN_NUM_HOSTS": "4"}, r"JOB_COMPLETION_INDEX: .*must be a whole number, but is ''"),
        (indexed_job("1", "2", "coco"), r"TFX_RCNN_HOST_PATTERN: .*\{index\}.*but is 'coco'"),
        (indexed_job("2", "2"), r"JOB_COMPLETION_INDEX is 2, but TFX_RCNN_HOST_PATTERN makes 2"),
        (sagemaker("algo-1", "algo-1"), r"SM_HOSTS: not JSON"),
        (sagemaker('"algo-1"', "algo-1"), r"SM_HOSTS: expected a JSON list of names"),
        (sagemaker('["algo-1"]', "algo-3"), r"SM_CURRENT_HOST is 'algo-3', which SM_HOSTS does"),
        (sagemaker('["a"]', "a", SM_NUM_GPUS="all"), r"SM_NUM_GPUS: must be a whole number"),
        (sagemaker('["a"]', "a", TFX_RCNN_PORT="http"), r"TFX_RCNN_PORT: must be a whole number"),
        ({**sagemaker('["algo-1", "algo-2"]', "algo-2"),
          **tf_config("worker", 0, worker=["algo-1:1", "algo-2:1"])},
         r"SM_HOSTS makes this host number 1 of .*, but TF_CONFIG makes it number 0 of"),
        ({**indexed_job("0", "2"), **tf_config("worker", 0, worker=["a:1"])},
         r"TF_CONFIG makes this host number 0 of a, but TFX_RCNN_HOST_PATTERN makes it"),
    ],
)  # fmt: skip
def test_what_is_missing_or_contradicts_is_named(environ, message):
    with pytest.raises(ConfigError, match=message) as caught:
        cluster_from_environment(environ)
    assert "\n" not in str(caught.value)


def test_workers_of_a_host_have_ports_in_a_row():
    cluster = Cluster(("a:2222", "b:7000"), 1, "TFX_RCNN_HOSTS")
    assert cluster.worker_addresses(6) == [
        "a:2222",
        "a:2223",
        "a:2224",
        "b:7000",
        "b:7001",
        "b:7002",
    ]


def test_hosts_of_one_machine_need_ports_apart():
    cluster = Cluster(("a:2222", "a:2223"), 0, "TFX_RCNN_HOSTS")
    assert cluster.worker_addresses(2) == ["a:2222", "a:2223"]
    with pytest.raises(ConfigError, match=r"would listen on a:2223: .* at least 2 apart"):
        cluster.worker_addresses(4)


def test_the_manifests_in_the_docs_name_their_own_pods():
    page = (Path(__file__).parents[3] / "docs/clusters.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    manifests = {m["kind"]: m for block in blocks for m in yaml.safe_load_all(block)}
    service, job = manifests["Service"], manifests["Job"]
    pod = job["spec"]["template"]["spec"]
    # Pods are reached as <job>-<index>.<subdomain>, which must be the headless service's name.
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    [container] = pod["containers"]
    given = {variable["name"]: variable["value"] for variable in container["env"]}
    last = job["spec"]["completions"] - 1
    cluster = cluster_from_environment({**given, "JOB_COMPLETION_INDEX": str(last)})
    assert cluster.hosts[-1] == f"coco-{last}.coco-hosts:2222"
    assert job["spec"]["parallelism"] == job["spec"]["completions"] == len(cluster.hosts)
    [worker] = manifests["TFJob"]["spec"]["tfReplicaSpecs"].values()
    assert worker["template"]["spec"]["containers"][0]["name"] == "tensorflow"  # TFJob asks for it
