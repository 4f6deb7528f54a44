"""Tokenizers: finding a model's tokenizer.json, reading it when it may be hostile, and what it says of its tokens."""

from __future__ import annotations

import hashlib
import importlib.util
import threading
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CapabilityError, InputError, SettingError, printable
from ..files import excerpt, existing_file, inside, looks_like, read_json
from ..patience import patiently

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import tokenizers

TOKENIZER = "tokenizer.json"
BESIDE = ("special_tokens_map.json", "tokenizer_config.json")
LARGEST_TOKENIZER = 128 << 20  # bytes; those of 250,000 tokens have about 20 MiB
LARGEST_CONFIG = 8 << 20
LONGEST_BELIEVED = 1 << 20  # tokens; tokenizer_config.json holds 10**30 where nothing is known
INSTALL = 'pip install "onnxplain[text]"'
# How tokens that can stand in for others are usually spelled, where no file beside the tokenizer says it.
USUAL = {
    "mask": ("[MASK]", "<mask>", "<|mask|>"),
    "unk": ("[UNK]", "<unk>", "<|unk|>", "<UNK>"),
    "pad": ("[PAD]", "<pad>", "<|pad|>", "<PAD>"),
}


@dataclass(frozen=True)
class Piece:
    """A token: name, code, where it is in its text ((0, 0) if it is special), which text that is, and its type."""

    name: str
    code: int
    span: tuple[int, int]
    part: int
    kind: int


def find_tokenizer(named: str, spec_file: str, folder: Path | None) -> Path | None:
    """Return the tokenizer that a spec names, else the ``tokenizer.json`` beside the model, None if there is none.

    It is looked for in the model's folder, and above it if that is named ``onnx``. SettingError if the spec names a
    file outside its folder.
    """
    if named:
        base = Path(spec_file).parent if spec_file else folder
        if base is None:
            raise SettingError(f"the tokenizer '{excerpt(named)}' has no folder to be looked for in", where="the spec")
        return inside(base, named, f"{printable(spec_file) or 'the spec'}, tokenizer")
    if folder is None:
        return None
    folders = [folder, folder.parent] if folder.name == "onnx" else [folder]
    return next((found / TOKENIZER for found in folders if (found / TOKENIZER).is_file()), None)


def is_installed() -> bool:
    """Say whether the package that reads tokenizers is there."""
    return importlib.util.find_spec("tokenizers") is not None


def read_tokenizer(path: Path) -> Tokenizer:
    """Return the tokenizer in a file, which is read once for all texts as long as nothing beside it changes."""
    existing_file(path, SettingError)
    files = (path, *(path.with_name(name) for name in BESIDE))
    return _latest(path.absolute(), tuple(_stamp(file) for file in files), path)


def _stamp(file: Path) -> tuple[int, int] | None:
    status = file.stat() if file.is_file() else None
    return None if status is None else (status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2)
def _latest(_: Path, __: tuple[tuple[int, int] | None, ...], path: Path) -> Tokenizer:
    return Tokenizer(path)


class Tokenizer:
    """A tokenizer.json, read. CapabilityError where its package is missing, SettingError where it cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        data = _read(path)
        self.digest = hashlib.sha256(data).hexdigest()
        if not is_installed():
            raise CapabilityError("texts need the package tokenizers, which is not installed", tip=INSTALL)
        import tokenizers

        self._inner: tokenizers.Tokenizer = _guarded(
            lambda: tokenizers.Tokenizer.from_str(data.decode()), path, "this tokenizer cannot be used"
        )
        self._truncation: dict[str, Any] = dict(self._inner.truncation or {})
        self._padding: dict[str, Any] = dict(self._inner.padding or {})
        self._inner.no_truncation()
        self._inner.no_padding()
        self._truncating = threading.Lock()  # truncation is switched on for a text, and off again
        self._special = {
            code: token.content for code, token in self._inner.get_added_tokens_decoder().items() if token.special
        }

    @cached_property
    def _beside(self) -> dict[str, Any]:
        """What the files beside the tokenizer say: Hugging Face's special_tokens_map.json and tokenizer_config.json."""
        found: dict[str, Any] = {}
        for name in BESIDE:
            file = self.path.with_name(name)
            if file.is_file():
                content = read_json(file, LARGEST_CONFIG)
                found |= content if isinstance(content, dict) else {}
        return found

    @property
    def length(self) -> int:
        """The most tokens of a text, 0 if nothing says it."""
        said = (self._truncation.get("max_length"), self._beside.get("model_max_length"))
        return next((n for n in said if type(n) is int and 0 < n <= LONGEST_BELIEVED), 0)

    @property
    def pads_left(self) -> bool:
        """True if short texts are filled up before their first token."""
        side = self._padding.get("direction") or self._beside.get("padding_side")
        return str(side).lower() == "left"

    @cached_property
    def stand_ins(self) -> dict[str, int]:
        """Codes of the tokens that can stand in for others: ``mask``, ``unk`` and ``pad``, those that there are."""
        said = {"unk": getattr(self._inner.model, "unk_token", None), "pad": self._padding.get("pad_token")}
        found = {}
        for role, usual in USUAL.items():
            written = self._beside.get(f"{role}_token")
            content = written.get("content") if isinstance(written, dict) else written
            for name in (content, said.get(role), *usual):
                code = self._inner.token_to_id(name) if isinstance(name, str) else None
                if code is not None:
                    found[role] = int(code)
                    break
        return found

    @property
    def count(self) -> int:
        """How many tokens there are, special ones included."""
        return int(self._inner.get_vocab_size(with_added_tokens=True))

    def pieces(self, texts: Sequence[str], most: int = 0) -> tuple[list[Piece], int]:
        """Return the tokens of one text, or of two that go together; at most ``most`` (0: all), and how many were cut.

        Special tokens are those that the tokenizer adds, and those that are typed out in the text. Of two texts the
        longer one is cut first. SettingError where the tokenizer does not say how two texts go together.
        """
        if len(texts) > 1 and self._added(1) and not self._added(2):
            raise SettingError("this tokenizer does not say how two texts go together", where=printable(self.path))
        whole = self._encoded(texts, 0)
        kept = self._encoded(texts, most) if most and len(whole.ids) > most else whole
        columns = (kept.tokens, kept.ids, kept.offsets, kept.special_tokens_mask, kept.sequence_ids, kept.type_ids)
        if len({len(column) for column in columns}) > 1:  # a template that names more tokens than it has codes for
            raise SettingError(
                f"this tokenizer gives {len(kept.tokens)} tokens and {len(kept.ids)} codes", where=printable(self.path)
            )
        pieces = []
        for name, code, span, added, part, kind in zip(*columns, strict=True):
            is_special = added or part is None or self._is_typed_out(code, texts[part], span)
            pieces.append(Piece(name, code, (0, 0) if is_special else span, part or 0, kind))
        return pieces, len(whole.ids) - len(kept.ids)

    def _is_typed_out(self, code: int, text: str, span: tuple[int, int]) -> bool:
        return code in self._special and text[slice(*span)].strip() == self._special[code].strip()

    def _added(self, texts: int) -> int:
        """Return how many special tokens are put around so many texts."""
        return int(self._inner.num_special_tokens_to_add(is_pair=texts > 1))

    def _encoded(self, texts: Sequence[str], most: int) -> tokenizers.Encoding:
        if most:
            added = self._added(len(texts))
            if most - added < len(texts):
                raise SettingError(
                    f"a length of {most} tokens leaves no room for the text: the tokenizer adds {added} special ones",
                    where=printable(self.path),
                )
        with self._truncating:
            if most:
                self._inner.enable_truncation(most, direction=str(self._truncation.get("direction") or "right"))
            try:
                encoded: tokenizers.Encoding = _guarded(
                    lambda: self._inner.encode(texts[0], texts[1] if len(texts) > 1 else None),
                    self.path,
                    "the tokenizer cannot take this text",
                    InputError,
                )
            finally:
                self._inner.no_truncation()
        return encoded


def _read(path: Path) -> bytes:
    where = printable(path)
    if existing_file(path, SettingError).stat().st_size > LARGEST_TOKENIZER:
        raise SettingError(f"this tokenizer has more than {LARGEST_TOKENIZER >> 20} MiB, the limit", where=where)
    data = path.read_bytes()
    try:
        data.decode()
    except UnicodeDecodeError:
        found = looks_like(path) or "not UTF-8 text"
        raise SettingError(f"this is no tokenizer: it is {found}", where=where, tip=_formats()) from None
    if not data.lstrip().startswith(b"{"):
        found = looks_like(path)
        raise SettingError(f"this is no tokenizer: it is {found or 'not a JSON object'}", where=where, tip=_formats())
    return data


def _formats() -> str:
    return "give the tokenizer.json of Hugging Face's tokenizers; transformers writes it with save_pretrained"


def _guarded(
    work: Callable[[], Any], path: Path, message: str, error: type[SettingError | InputError] = SettingError
) -> Any:
    """Run native code of the package; whatever it raises (it has no errors of its own) says what is wrong."""
    try:
        return patiently(work, "reading the tokenizer" if error is SettingError else "tokenizing")
    except BaseException as problem:
        is_theirs = type(problem) in {Exception, TypeError, ValueError, OverflowError}
        if not is_theirs and type(problem).__name__ != "PanicException":  # Rust's; it is no Exception
            raise
        raise error(f"{message}: {excerpt(problem, 120)}", where=printable(path)) from None


def check_stand_ins(codes: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` unless these are codes of mask, unk and pad tokens, whole numbers from 0 on."""
    for role, code in codes.items():
        if role not in USUAL or type(code) is not int or code < 0:
            raise ValueError(f"{role} token {code!r}")
