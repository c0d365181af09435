"""`load_in_8bit` and `load_in_4bit`, as lm-eval's guides write them: transformers 5 takes a configuration instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lm_eval.models.huggingface import HFLM
from transformers import BitsAndBytesConfig

_SWITCHES = ("load_in_8bit", "load_in_4bit")
_PREFIXES = ("bnb_4bit_", "llm_int8_")


def hflm(model: str, args: Mapping[str, Any], **more: Any) -> Any:
    """HFLM with bitsandbytes quantization where the arguments ask for it."""
    wanted = {name: value for name, value in args.items() if name in _SWITCHES or name.startswith(_PREFIXES)}
    rest = {name: value for name, value in args.items() if name not in wanted}
    if not any(wanted.get(switch) for switch in _SWITCHES):
        return HFLM(model, **rest, **more)
    return _quantizing(BitsAndBytesConfig(**wanted))(model, **rest, **more)


def _quantizing(config: BitsAndBytesConfig) -> type[Any]:
    class QuantizedHFLM(HFLM):  # type: ignore[misc]
        """Lets the model's own configuration carry the quantization, which is where HFLM looks for it."""

        def _get_config(self, *args: Any, **kwargs: Any) -> None:
            super()._get_config(*args, **kwargs)
            self._config.quantization_config = config.to_dict()

    return QuantizedHFLM
