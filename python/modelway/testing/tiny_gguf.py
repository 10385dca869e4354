"""How a tiny model is made: one transformer block that changes nothing, and a memory of what follows what.

Each token of a script is a token of the vocabulary. A token that has a successor gets a dimension of its
own (its embedding is that axis), and the output matrix leads from that axis to the successor, so the
logits are exactly ``LOGIT`` for the right next token and 0 for all others. The block's weights are zero:
what the model reads is its last token alone. A chat template ends with the token that starts a script.

A script's tokens are words with the white space before them. As a token has one successor, each must be
another one: a word that came before is joined with the word after it. No merge of the tokenizer yields
them, so a prompt is always read as single bytes and never as a script's token.

A file's zeros are left out when it is written, so it is mostly holes.
"""

from __future__ import annotations

import math
import os
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import gguf
import numpy as np

from modelway.errors import ModelwayError
from modelway.testing import tiny_templates as templates

if TYPE_CHECKING:
    import numpy.typing as npt

    from modelway.testing.tiny_model import TinyModel

#: Far enough above 0 that no temperature a caller may ask for makes another token likely.
LOGIT = 60.0
HEADS = 4
#: llama.cpp wants rows in multiples of 32 floats; heads share the embedding.
DIM_STEP = 32 * HEADS
MIN_FFN = 64
FLOAT_BYTES = 4

#: Name -> shape and values; None: all zero.
Tensors = dict[str, tuple[tuple[int, ...], "npt.NDArray[np.float32] | None"]]


def _byte_alphabet() -> list[str]:
    """GPT-2's printable character for each byte value: itself where it prints, else one from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


ALPHABET = _byte_alphabet()


def _spelled(text: str) -> str:
    """A text as the vocabulary spells it."""
    return "".join(ALPHABET[byte] for byte in text.encode())


@dataclass(slots=True)
class Chain:
    """The vocabulary, and which token follows which."""

    tokens: list[str] = field(default_factory=lambda: [*templates.CONTROL_TOKENS, *ALPHABET])
    successor: dict[int, int] = field(default_factory=dict)

    def id_of(self, token: str) -> int:
        return self.tokens.index(token)

    def add_script(self, start: int, text: str, *, loop: bool) -> list[int]:
        """Let ``text`` follow ``start``, then the end, or itself again. Returns its tokens."""
        added: list[int] = []
        pending = ""
        for word in re.findall(r"\s?[^\s]+|\s", text):
            pending += word
            if _spelled(pending) not in self.tokens:
                added.append(len(self.tokens))
                self.tokens.append(_spelled(pending))
                pending = ""
        if pending:
            raise ModelwayError(f"tiny models: {pending!r}, the end of a script, came before; end it with another word")
        for before, after in zip([start, *added], added, strict=False):
            self.successor[before] = after
        self.successor[added[-1]] = added[0] if loop else self.id_of(templates.EOS)
        return added


def _chain_of(model: TinyModel) -> tuple[Chain, str]:
    """The model's chain and its chat template."""
    chain = Chain()
    assistant = chain.id_of(templates.ASSISTANT)
    if not model.script.strip():
        raise ModelwayError(f"tiny models: {model.name} has an empty script; give it something to say")
    if model.tool_call and (model.thinking or not model.after_tool):
        raise ModelwayError(f"tiny models: {model.name} has a tool_call; give it an after_tool and no thinking")
    if model.thinking:
        thought = chain.add_script(assistant, f"<think>\n{model.thinking}\n</think>\n\n", loop=False)
        answer = chain.add_script(thought[-1], model.script, loop=model.loop)
        # Where no thinking is wanted the template ends with a line feed; the answer follows that, too.
        chain.successor[chain.id_of(_spelled(templates.NO_THOUGHT[-1]))] = answer[0]
        return chain, templates.THINKING
    if not model.tool_call:
        chain.add_script(assistant, model.script, loop=model.loop)
        return chain, templates.PLAIN
    chain.add_script(assistant, f"<tool_call>\n{model.tool_call}\n</tool_call>", loop=False)
    chain.add_script(chain.id_of(templates.ANSWER), model.script, loop=model.loop)
    chain.add_script(chain.id_of(templates.TOOL), model.after_tool, loop=False)
    return chain, templates.TOOLS


def _tensors(chain: Chain, pad_bytes: int) -> Tensors:
    dim = math.ceil(len(chain.successor) / DIM_STEP) * DIM_STEP
    vocabulary = len(chain.tokens)
    embedding = np.zeros((vocabulary, dim), np.float32)
    output = np.zeros((vocabulary, dim), np.float32)
    for axis, (before, after) in enumerate(chain.successor.items()):
        # Of length sqrt(dim), the embedding has the root mean square 1 and passes the norms unchanged.
        embedding[before, axis] = math.sqrt(dim)
        output[after, axis] = LOGIT / math.sqrt(dim)
    ffn = max(MIN_FFN, pad_bytes // (3 * FLOAT_BYTES * dim) // 32 * 32)  # gate, up and down
    head = dim // HEADS
    ones = np.ones(dim, np.float32)
    return {
        "token_embd.weight": (embedding.shape, embedding),
        "output_norm.weight": (ones.shape, ones),
        "output.weight": (output.shape, output),
        "blk.0.attn_norm.weight": (ones.shape, ones),
        "blk.0.attn_q.weight": ((dim, dim), None),
        "blk.0.attn_k.weight": ((head, dim), None),
        "blk.0.attn_v.weight": ((head, dim), None),
        "blk.0.attn_output.weight": ((dim, dim), None),
        "blk.0.ffn_norm.weight": (ones.shape, ones),
        "blk.0.ffn_gate.weight": ((ffn, dim), None),
        "blk.0.ffn_up.weight": ((ffn, dim), None),
        "blk.0.ffn_down.weight": ((dim, ffn), None),
    }


def write_gguf(model: TinyModel, path: Path) -> None:
    """Write the model's file in the place of what is there, whole or not at all."""
    chain, template = _chain_of(model)
    tensors = _tensors(chain, model.pad_bytes)
    writer = _described(model, chain, template, tensors)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    unfinished = Path(name)
    try:
        writer.write_header_to_file(unfinished)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        writer.close()
        _append_weights(unfinished, tensors, writer.data_alignment)
        unfinished.chmod(0o644)  # mkstemp makes files that only their owner can read
        unfinished.replace(path)
    except BaseException:
        writer.close()
        unfinished.unlink(missing_ok=True)
        raise


def _described(model: TinyModel, chain: Chain, template: str, tensors: Tensors) -> gguf.GGUFWriter:
    """A writer that knows all of the file but the weights."""
    dim = tensors["output_norm.weight"][0][0]
    writer = gguf.GGUFWriter(None, "llama")
    writer.add_name(model.name)
    writer.add_license(model.license)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(model.context)
    writer.add_embedding_length(dim)
    writer.add_block_count(1)
    writer.add_feed_forward_length(tensors["blk.0.ffn_up.weight"][0][0])
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(1)
    writer.add_rope_dimension_count(dim // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(chain.tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(chain.tokens)
    controls = len(templates.CONTROL_TOKENS)
    normal = len(chain.tokens) - controls
    writer.add_token_types([*[gguf.TokenType.CONTROL] * controls, *[gguf.TokenType.NORMAL] * normal])
    # The format wants at least one merge; this one needs the byte 0 twice.
    writer.add_token_merges([f"{ALPHABET[0]} {ALPHABET[0]}"])
    writer.add_bos_token_id(chain.id_of(templates.BOS))
    writer.add_eos_token_id(chain.id_of(templates.EOS))
    writer.add_pad_token_id(chain.id_of(templates.EOS))
    writer.add_add_bos_token(False)  # the template brings it
    writer.add_chat_template(template)
    for name, (shape, _) in tensors.items():
        writer.add_tensor_info(name, shape, np.dtype(np.float32), FLOAT_BYTES * math.prod(shape))
    return writer


def _append_weights(path: Path, tensors: Tensors, alignment: int) -> None:
    """Put the weights behind the description, each aligned; zeros are left as holes."""
    with path.open("r+b") as file:
        position = file.seek(0, os.SEEK_END)
        for shape, values in tensors.values():
            position += -position % alignment
            if values is not None:
                file.seek(position)
                file.write(values.tobytes())
            position += FLOAT_BYTES * math.prod(shape)
        file.truncate(position + -position % alignment)
