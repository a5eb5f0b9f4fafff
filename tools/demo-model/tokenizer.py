"""The byte-level BPE tokenizer: training, loading and framing of documents."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from corpus.chat import converse
from corpus.dice import Dice
from corpus.story import tell

VOCABULARY = 2048
BOS, EOS, IM_START, IM_END = "<|startoftext|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL = [BOS, EOS, IM_START, IM_END]
CHAT_SHARE = 0.14


def document(seed: int):
    """The training document of `seed` and its surprise in nats."""
    dice = Dice(seed)
    if dice.chance(CHAT_SHARE):
        body = "".join(
            f"{IM_START}{role}\n{text}{IM_END}\n" for role, text in converse(dice)
        )
    else:
        body = tell(dice).text
    return BOS + body + EOS, dice.nats


def train(documents, path: Path) -> Tokenizer:
    """Fit the BPE merges to `documents` and save the tokenizer.

    The pre-tokenizer is GPT-2's, which GGUF names "gpt-2"; the initial
    alphabet holds all 256 bytes, so that any text can be encoded.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        documents,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.save(str(path))
    return tokenizer


def load(path: Path) -> Tokenizer:
    return Tokenizer.from_file(str(path))
