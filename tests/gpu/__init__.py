"""What holds on a machine with an NVIDIA GPU: `make test-gpu`, or `python -m tests.gpu --wheels FOLDER --out FILE`."""
