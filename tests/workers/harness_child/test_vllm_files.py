"""What vLLM takes of a model's files, as the harness child reads them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from workers.harness_child.lm_eval.broker_lm import BrokerLM
from workers.harness_child.lm_eval.shapes import VLLMRules
from workers.protocol.engine import EngineRecipe
from workers.protocol.harness import PromptShapes


class TestFiles:
    """What vLLM takes of a model's files."""

    @pytest.fixture
    def variant(self, model: Path, tmp_path: Path) -> Path:
        return Path(shutil.copytree(model, tmp_path / "variant"))

    def lm(self, folder: Path, **given: Any) -> BrokerLM:
        recipe = EngineRecipe("vllm", str(folder), "a-branch", args=given)
        return BrokerLM(recipe, lambda instance, repeat: None, shapes=PromptShapes.VLLM)

    def edit(self, folder: Path, file: str, **values: Any) -> None:
        path = folder / file
        kept = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(kept | values))

    @pytest.mark.parametrize("asked", [None, "v2"])
    def test_the_models_revision_is_not_the_tokenizers(self, variant: Path, asked: str | None) -> None:
        recipe = EngineRecipe("vllm", str(variant), "a-branch", args={"tokenizer_revision": asked})
        assert VLLMRules.tokenizer_options(recipe, None)["revision"] == (asked or "main")

    def test_a_processors_template_goes_before_the_tokenizers(self, variant: Path) -> None:
        for file, template in (("chat_template.json", "OLD"), ("processor_config.json", "NEW")):
            self.edit(variant, file, chat_template=template)
            lm = self.lm(variant)
            lm.choose_template(True)
            assert lm.template != template, "nothing says that there is a processor"
            self.edit(variant, "preprocessor_config.json", processor_class="AProcessor")
            lm.choose_template(True)
            assert lm.apply_chat_template([{"role": "user", "content": "x"}]) == template
            (variant / "preprocessor_config.json").unlink()

    def test_a_name_is_passed_over_and_that_is_said(self, variant: Path) -> None:
        (variant / "chat_template.jinja").unlink()
        named = [{"name": "default", "template": "D"}, {"name": "RAG", "template": "R"}]
        self.edit(variant, "tokenizer_config.json", chat_template=named)
        lm = self.lm(variant)

        assert lm.choose_template("RAG") == "R", "which lm-eval's document names"
        assert lm.template == "D"
        (note,) = lm.template_notes("RAG")
        assert note.startswith("the default chat template wrote the prompts")

    @pytest.mark.parametrize("file", ["tekken.json", "tokenizer.model.v3"])
    def test_mistrals_own_tokenizer_is_refused_in_words(self, variant: Path, file: str) -> None:
        (variant / file).touch()
        self.lm(variant)
        (variant / "consolidated.safetensors").touch()
        with pytest.raises(Exception, match="mistral's own tokenizer"):
            self.lm(variant)
        self.lm(variant, tokenizer_mode="hf")

    def test_another_kind_of_tokenizer_is_refused_in_words(self, variant: Path) -> None:
        with pytest.raises(Exception, match="tokenizer_mode 'slow' is none of auto, hf"):
            self.lm(variant, tokenizer_mode="slow")
