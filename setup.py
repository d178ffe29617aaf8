"""Packaging of tfx-rcnn; the exact versions of what it needs are in requirements/."""

import re
from pathlib import Path

from setuptools import find_packages, setup

# The libraries that the code imports itself. There are two lanes of them (docs/lanes.md): modern on
# Python 3.12 and later, legacy on 3.10. The bounds are those that TFX and TensorFlow of the lane
# impose, or the oldest version whose API we use.
MODERN, LEGACY = "python_version >= '3.12'", "python_version < '3.12'"
INSTALL_REQUIRES = [
    "absl-py>=1.4",
    f"apache-beam>=2.77,<2.78; {MODERN}",
    f"apache-beam>=2.60,<2.65; {LEGACY}",
    "click>=8.1",
    "defusedxml>=0.7",
    "fsspec>=2024.2",
    "h5py>=3.10",
    "hotcoco>=1.3,<2",
    "jinja2>=3.1",
    "keras>=3.5",
    # TFX's own extra asks for these below Python 3.12 only. The two go together.
    f"kfp==2.16.1; {MODERN}",
    f"kfp-pipeline-spec==2.16.1; {MODERN}",
    "kubernetes>=26",
    "matplotlib>=3.7",
    f"numpy>=2,<3; {MODERN}",
    f"numpy>=1.26,<2; {LEGACY}",
    "orjson>=3.10",
    "pillow>=10",
    f"protobuf>=6.31,<7; {MODERN}",
    f"protobuf>=3.20.3,<5; {LEGACY}",
    "psutil>=5.9",
    "pycocotools>=2.0.7",
    "pydantic>=2.6,<3",
    "pyyaml>=6",
    "regex>=2023.6.3",  # Unlike re, it can be stopped.
    "requests>=2.31",
    "rich>=13",
    "safetensors>=0.4",
    "scipy>=1.11",
    "simplejpeg>=1.8",
    "starlette>=1.0",
    "tensorboard>=2.16",  # TensorFlow asks for it no longer.
    f"tensorflow>=2.21,<2.22; {MODERN}",
    f"tensorflow>=2.16.2,<2.17; {LEGACY}",
    f"tensorflow-data-validation>=1.21,<1.22; {MODERN}",
    f"tensorflow-data-validation>=1.16.1,<1.17; {LEGACY}",
    f"tensorflow-metadata>=1.21,<1.22; {MODERN}",
    f"tensorflow-metadata>=1.16.1,<1.17; {LEGACY}",
    f"tfx>=1.21,<1.22; {MODERN}",
    f"tfx[kfp]>=1.16,<1.17; {LEGACY}",
    "tqdm>=4.66",
    "uvicorn>=0.30",
]

DEV_REQUIRES = [
    "flask-cors>=5",  # Moto's server is a Flask application.
    "hypothesis>=6.100",
    "moto[s3]>=5",
    "mypy>=1.10",
    "nbformat>=5",
    "playwright>=1.50",  # Drives Debian's Chromium; its browsers are not downloaded.
    "pytest>=8",
    "pytest-xdist>=3.6",
    "ruff>=0.6",
    "types-PyYAML",
]

VERSION = re.search(
    r'^VERSION = "(.*?)"',
    Path(__file__).with_name("ground").joinpath("version.py").read_text(),
    re.M,
)[1]

setup(
    name="tfx-rcnn",
    version=VERSION,
    description="A TFX pipeline that trains Faster R-CNN and Mask R-CNN from COCO data.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    if Path(__file__).with_name("README.md").exists()
    else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    # There is a set of packages for these. We write for 3.10.
    python_requires=">=3.10,<3.14,!=3.11.*",
    # By name, so that tests, benchmarks and scripts never ship.
    packages=find_packages(include=["ground*", "configs*", "model*", "components*", "pipeline*"]),
    # One root for all packages lets an editable install be a plain path entry, which sees
    # packages that are added later.
    package_dir={"": "."},
    py_modules=["tfx_rcnn"],
    package_data={
        "": ["py.typed", "*.pbtxt", "*.yaml", "*.j2", "*.html", "*.css", "*.js", "*.svg"],
        "components.coco_evaluator": ["report/*"],
        "pipeline.look": ["page/*"],
        "configs": ["presets/*.yaml", "awsdet/*.yaml", "beam/*.yaml"],
    },
    install_requires=INSTALL_REQUIRES,
    extras_require={
        "dev": DEV_REQUIRES,
        "s3": ["boto3>=1.34"],
        "gcs": ["gcsfs>=2024.2"],
        "sagemaker": ["boto3>=1.34"],
        "mlflow": ["mlflow-skinny>=2.14"],
        "wandb": ["wandb>=0.19"],  # Not in the locks: 80 MB.
        "onnx": ["onnx>=1.16", "onnxruntime>=1.20", "tf2onnx>=1.16.1"],
        "gpu": [
            f"tensorflow[and-cuda]>=2.21,<2.22; {MODERN}",
            f"tensorflow[and-cuda]>=2.16.2,<2.17; {LEGACY}",
        ],
    },
    entry_points={"console_scripts": ["tfx-rcnn = tfx_rcnn:main"]},
)
