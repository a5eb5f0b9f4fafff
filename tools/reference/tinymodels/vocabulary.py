"""A byte-level vocabulary of 260 tokens, the smallest with which a file can also be run as text."""

BOS, EOS = 258, 259
MERGES = ["h e", "Ġ t"]


def byte_symbols() -> list[str]:
    """GPT-2's printable stand-in for each byte, in byte order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    symbols, spare = [], 0
    for byte in range(256):
        if byte in printable:
            symbols.append(chr(byte))
        else:
            symbols.append(chr(256 + spare))
            spare += 1
    return symbols


TOKENS = byte_symbols() + [m.replace(" ", "") for m in MERGES] + ["<|bos|>", "<|eos|>"]
SIZE = len(TOKENS)

NORMAL, CONTROL = 1, 3
TOKEN_TYPES = [NORMAL] * (SIZE - 2) + [CONTROL] * 2


def add_to(writer) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(TOKENS)
    writer.add_token_types(TOKEN_TYPES)
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(EOS)
    writer.add_add_bos_token(False)
