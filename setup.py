"""Packaging of tfx-rcnn; the exact versions of what it needs are in constraints.txt."""

from pathlib import Path

from setuptools import find_packages, setup

# The libraries that the code imports itself. The bounds are those that TFX 1.16 and TensorFlow
# 2.16 impose, or the oldest version whose API we use.
INSTALL_REQUIRES = [
    "absl-py>=1.4",
    "apache-beam>=2.60,<2.65",  # 2.65 and later look for a Prism binary to download.
    "click>=8.1",
    "fsspec>=2024.2",
    "h5py>=3.10",
    "ijson>=3.2",
    "jinja2>=3.1",
    "keras>=3.5",
    "matplotlib>=3.7",
    "numpy>=1.26,<2",
    "pillow>=10",
    "protobuf>=3.20.3,<5",
    "psutil>=5.9",
    "pycocotools>=2.0.7",
    "pydantic>=2.6,<3",
    "pyyaml>=6",
    "requests>=2.31",
    "rich>=13",
    "safetensors>=0.4",
    "tensorflow>=2.16.2,<2.17",
    "tensorflow-data-validation>=1.16.1,<1.17",
    "tensorflow-metadata>=1.16.1,<1.17",
    "tfx[kfp]>=1.16,<1.17",
    "tqdm>=4.66",
]

DEV_REQUIRES = [
    "hypothesis>=6.100",
    "moto>=5",
    "mypy>=1.10",
    "nbformat>=5",
    "pytest>=8",
    "pytest-xdist>=3.6",
    "ruff>=0.6",
    "types-PyYAML",
]

setup(
    name="tfx-rcnn",
    version="0.1.0",
    description="A TFX pipeline that trains Faster R-CNN and Mask R-CNN from COCO data.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    if Path(__file__).with_name("README.md").exists()
    else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    # TFX 1.16 supports Python 3.9 and 3.10. TFX 1.17 and later have wheels for glibc >= 2.39
    # only, newer than Debian 12's and Ubuntu 22.04's. We write for 3.10.
    python_requires=">=3.10,<3.11",
    # By name, so that tests, benchmarks and scripts never ship.
    packages=find_packages(include=["configs*", "model*", "components*", "pipeline*"]),
    # One root for all packages lets an editable install be a plain path entry, which sees
    # packages that are added later.
    package_dir={"": "."},
    package_data={
        "": ["py.typed", "*.pbtxt", "*.yaml", "*.j2", "*.html", "*.css", "*.js", "*.svg"],
        "components.coco_evaluator": ["report/*"],
        "configs": ["presets/*.yaml", "awsdet/*.yaml"],
    },
    install_requires=INSTALL_REQUIRES,
    extras_require={
        "dev": DEV_REQUIRES,
        "sagemaker": ["boto3>=1.34", "sagemaker>=2.230,<3"],
        "gpu": ["tensorflow[and-cuda]>=2.16.2,<2.17"],
    },
    entry_points={"console_scripts": ["tfx-rcnn = pipeline.__main__:main"]},
)
