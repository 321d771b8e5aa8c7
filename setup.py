"""Put the top-level folders custom_ops and configs into the installed package.

In a checkout the C++ sources and the configurations stay at top level, where people
look for them; a wheel carries them as tfstylegan/custom_ops and tfstylegan/configs.
Everything else is declared in pyproject.toml.
"""

from setuptools import find_packages, setup

DATA_FOLDERS = {"tfstylegan.custom_ops": "custom_ops", "tfstylegan.configs": "configs"}

setup(
    packages=find_packages(include=["tfstylegan", "tfstylegan.*"]) + [*DATA_FOLDERS],
    package_dir=DATA_FOLDERS,
    package_data={
        "tfstylegan.custom_ops": ["*.h", "*.cc", "*.md"],
        "tfstylegan.ops": ["*.so"],  # Whoever builds the ops beforehand ships them so.
    },
)
