"""Engine backends: which exist, and the pinned environment each of them runs in."""

from app.backends.environments import environment_path, installed, is_installed, python_of
from app.backends.install import install
from app.backends.registry import BACKENDS, Backend, backend_key, backend_of_model

__all__ = [
    "BACKENDS",
    "Backend",
    "backend_key",
    "backend_of_model",
    "environment_path",
    "install",
    "installed",
    "is_installed",
    "python_of",
]
