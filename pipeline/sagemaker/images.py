"""Where AWS keeps its own TensorFlow containers for training on SageMaker."""

from ground.errors import ConfigError
from model.lanes import LANE

# Version and Python of the container that fits each lane: the job takes its Python, the driver's
# libraries and the start of it, and makes the lane's environment there.
TENSORFLOW = {"modern": ("2.19.0", "py312"), "legacy": ("2.16", "py310")}

_USUAL = "763104351884"
_USUAL_REGIONS = (
    "ap-northeast-1 ap-northeast-2 ap-south-1 ap-southeast-1 ap-southeast-2 ca-central-1 "
    "eu-central-1 eu-north-1 eu-west-1 eu-west-2 eu-west-3 sa-east-1 us-east-1 us-east-2 "
    "us-west-1 us-west-2"
).split()
# AWS's accounts by region, as its list of deep learning containers says them.
_ACCOUNTS = dict.fromkeys(_USUAL_REGIONS, _USUAL) | {
    "af-south-1": "626614931356",
    "ap-east-1": "871362719292",
    "ap-northeast-3": "364406365360",
    "ap-south-2": "772153158452",
    "ap-southeast-3": "907027046896",
    "ap-southeast-4": "457447274322",
    "ca-west-1": "204538143572",
    "cn-north-1": "727897471807",
    "cn-northwest-1": "727897471807",
    "eu-central-2": "380420809688",
    "eu-south-1": "692866216735",
    "eu-south-2": "503227376785",
    "il-central-1": "780543022126",
    "me-central-1": "914824155844",
    "me-south-1": "217643126080",
    "us-gov-east-1": "446045086412",
    "us-gov-west-1": "442386744353",
}


def tensorflow_image(region: str, instance_type: str, lane: str = LANE) -> str:
    """Returns the URI of AWS's TensorFlow training container.

    Args:
        region: region of the job.
        instance_type: such as ml.p3dn.24xlarge; those of the families g and p have GPUs.
        lane: modern or legacy.

    Raises:
        ConfigError: AWS has none there.
    """
    account = _ACCOUNTS.get(region)
    if account is None:
        raise ConfigError(f"--region {region}: AWS's TensorFlow container is not known there")
    version, python = TENSORFLOW[lane]
    family = instance_type.removeprefix("ml.")
    device = "gpu" if family.startswith(("g", "p")) else "cpu"
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    image = f"tensorflow-training:{version}-{device}-{python}"
    return f"{account}.dkr.ecr.{region}.{domain}/{image}"
