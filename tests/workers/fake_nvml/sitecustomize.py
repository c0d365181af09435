"""Python runs this at its start where the folder is on PYTHONPATH: that process then sees the fake GPUs."""

import nvml_library  # type: ignore[import-not-found] # found there, and only there
import pynvml

pynvml.CDLL = nvml_library.load
