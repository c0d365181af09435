"""The GPUs of this host: what NVML says of them, and how people name them."""
