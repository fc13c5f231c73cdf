"""The files of traces: Parquet once whole, an Arrow stream while they are written.

A Parquet file cannot be read without its footer, an Arrow stream can: so chunks go to `<path>.partial` as a
stream, and the Parquet file is made of it at the end. A process that dies loses what was not yet in a chunk.
Pages of the Parquet file carry checksums, but their headers do not, and one altered bit there makes other
numbers of sound bytes. So the metadata hold a digest of all values, which is verified before any is used.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import ResultsError, UsageError
from harness.meters.traceformat import (
    COLUMNS,
    TEXT,
    Header,
    Raw,
    arrow_schema,
    import_arrow,
    partial_of,
    read_header,
)

_PARQUET = b"PAR1"
_ROWS_KEY = b"joulebench.rows.sha256"
_BATCH_ROWS = 4096


class Row(NamedTuple):
    """One sample: the values of `COLUMNS`, and of each meter's channels."""

    fixed: tuple[int | None, ...]
    channels: tuple[tuple[Raw, ...], ...]


class Writer:
    """A trace that grows chunk by chunk. `finish` makes the Parquet file; until then only `partial` exists.

    Raises: MissingExtra: pyarrow is not installed. UsageError: the file cannot be made.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self._arrow = arrow = import_arrow()
        self.path = path
        self.partial = partial_of(path)
        self._schema = arrow_schema(arrow, header)
        try:
            self.partial.open("xb").close()
            self._sink = arrow.OSFile(str(self.partial), "wb")
            # Compression in threads would wake a pool of them inside the windows.
            options = arrow.ipc.IpcWriteOptions(use_threads=False)
            self._stream = arrow.ipc.new_stream(self._sink, self._schema, options=options)
        except OSError as error:
            raise UsageError(f"the trace {self.partial} cannot be made: {error}") from error

    def write(self, columns: Mapping[str, Sequence[Raw]]) -> None:
        """Append rows, given by column.

        Raises: ResultsError: they could not be written.
        """
        arrays = [_array(self._arrow, field.type, columns[field.name]) for field in self._schema]
        try:
            self._stream.write_batch(self._arrow.record_batch(arrays, schema=self._schema))
        except (OSError, self._arrow.ArrowException) as error:
            raise self._failed(error) from error

    def finish(self, header: Header) -> None:
        """Make the Parquet file, with the header as it is now; it gets its name only when it is whole.

        Raises: ResultsError: it could not be written.
        """
        arrow = self._arrow
        whole = self.path.with_name(f"{self.path.name}.whole")
        schema = arrow_schema(arrow, header)
        try:
            self._stream.close()
            self._sink.close()
            with (
                arrow.OSFile(str(self.partial)) as source,
                arrow.ipc.open_stream(source) as batches,
                arrow.parquet.ParquetWriter(str(whole), schema, compression="zstd", write_page_checksum=True) as file,
            ):
                digest = _Digest()
                for batch in batches:
                    file.write_batch(batch)
                    digest.add(batch)
                file.add_key_value_metadata({_ROWS_KEY: digest.hexdigest()})
            if self.path.exists():
                raise FileExistsError(f"{self.path} came to exist meanwhile and is not written over")
            whole.replace(self.path)
            self.partial.unlink()
        except (OSError, arrow.ArrowException) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> ResultsError:
        return ResultsError(
            f"the trace {self.path} could not be written: {error}. What the windows measured is not touched by this; "
            f"`joulebench replay {self.partial}` reads what was complete"
        )


class Trace:
    """A trace on disk. `finished` is False where the recording process died; whole rows are there even then.

    `wall_ns` and `unix_ns` are the times of its samples, by the monotonic clock and by the time of day.

    Raises: MissingExtra: pyarrow is not installed. UsageError: there is no such file, it is no trace, it is
        damaged, or a newer joulebench wrote it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._arrow = import_arrow()
        self.path = Path(path)
        self.finished = _is_parquet(self.path)
        try:
            with self._arrow.OSFile(str(self.path)) as source:
                reader = self._reader(source) if self.finished else self._stream(source)
                schema = reader.schema_arrow if self.finished else reader.schema
                rows_digest = (reader.metadata.metadata or {}).get(_ROWS_KEY, b"") if self.finished else b""
        except (OSError, ValueError, self._arrow.ArrowException) as error:
            raise self._damaged(error) from error
        self.header = read_header(self.path, schema.metadata or {})
        if not schema.equals(arrow_schema(self._arrow, self.header), check_metadata=False):
            raise self._damaged("its columns are not those its header names")
        self.wall_ns, self.unix_ns = array("q"), array("q")
        digest = _Digest()
        for batch in self._batches():
            try:
                digest.add(batch)
                self.wall_ns.extend(batch.column("wall_ns").to_pylist())
                self.unix_ns.extend(batch.column("unix_ns").to_pylist())
            except (ValueError, TypeError) as error:
                raise self._damaged(error) from error
        if len(self.wall_ns) < 2 or any(later < earlier for earlier, later in pairwise(self.wall_ns)):
            raise self._damaged(f"{len(self.wall_ns)} samples, or samples that are not in the order of time")
        if self.finished and digest.hexdigest() != rows_digest:
            raise self._damaged("its values are not those that were recorded")

    @property
    def duration_s(self) -> float:
        """Seconds from the first sample to the last."""
        return (self.wall_ns[-1] - self.wall_ns[0]) / 1e9

    def rows(self) -> Iterator[Row]:
        """Yield the samples in the order of time.

        Raises: UsageError: the file is damaged where it is being read.
        """
        for batch in self._batches():
            try:
                values = {name: batch.column(name).to_pylist() for name in batch.schema.names}
            except ValueError as error:
                raise self._damaged(error) from error
            channels = [
                list(zip(*(_merged(values[column], values[column + TEXT]) for column in meter.columns), strict=True))
                or [()] * batch.num_rows
                for meter in self.header.meters
            ]
            fixed = zip(*(values[column] for column in COLUMNS), strict=True)
            for row in zip(fixed, *channels, strict=True):
                yield Row(row[0], row[1:])

    def _batches(self) -> Iterator[Any]:
        with self._arrow.OSFile(str(self.path)) as source:
            if not self.finished:
                yield from self._whole_batches(source)
                return
            try:
                yield from self._reader(source).iter_batches(_BATCH_ROWS, use_threads=False)
            except (OSError, ValueError, self._arrow.ArrowException) as error:
                raise self._damaged(error) from error

    def _whole_batches(self, source: Any) -> Iterator[Any]:
        stream = self._stream(source)
        while True:
            try:
                yield stream.read_next_batch()
            except (StopIteration, OSError, ValueError, self._arrow.ArrowException):
                return  # the process died here; what came before is whole

    def _reader(self, source: Any) -> Any:
        return self._arrow.parquet.ParquetFile(source, page_checksum_verification=True, pre_buffer=False)

    def _stream(self, source: Any) -> Any:
        return self._arrow.ipc.open_stream(source)

    def _damaged(self, why: object) -> UsageError:
        return UsageError(
            f"{self.path} is no trace, or a damaged one: {why}. Traces are what `measure.trace: true` in a suite and "
            "`harness.measure(..., trace=...)` write; take an undamaged copy"
        )


class _Digest:
    """A SHA-256 of all values, column by column; how they are cut into batches does not matter."""

    def __init__(self) -> None:
        self._columns: dict[str, Any] = {}

    def add(self, batch: Any) -> None:
        """Take in the next rows."""
        for name in batch.schema.names:
            values = batch.column(name).to_pylist()
            column = self._columns.setdefault(name, hashlib.sha256(name.encode()))
            column.update("".join(f"{value!r}\n" for value in values).encode())

    def hexdigest(self) -> bytes:
        """Return the digest of the columns' digests, as the metadata hold it."""
        digests = b"".join(column.digest() for column in self._columns.values())
        return hashlib.sha256(digests).hexdigest().encode()


def _array(arrow: Any, kind: Any, values: Sequence[Raw]) -> Any:
    """Return an Arrow array. `pyarrow.array` would import pandas to ask whether the list is one of its."""
    gaps = [value is None for value in values]
    if all(gaps):
        return arrow.nulls(len(values), kind)
    valid = sum(1 << place for place, gap in enumerate(gaps) if not gap)
    bitmap = arrow.py_buffer(valid.to_bytes((len(values) + 7) // 8, "little")) if any(gaps) else None
    if kind == arrow.int64():
        numbers = array("q", [value if isinstance(value, int) else 0 for value in values])
        return arrow.Array.from_buffers(kind, len(values), [bitmap, arrow.py_buffer(numbers)])
    texts = [value.encode() if isinstance(value, str) else b"" for value in values]
    ends = array("i", accumulate(map(len, texts), initial=0))
    data = arrow.py_buffer(b"".join(texts))
    return arrow.Array.from_buffers(kind, len(values), [bitmap, arrow.py_buffer(ends), data])


def _is_parquet(path: Path) -> bool:
    """Return whether the file is a Parquet file, as far as its first bytes say.

    Raises: UsageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(len(_PARQUET)) == _PARQUET
    except OSError as error:
        partial = partial_of(path)
        hint = ""
        if partial.exists():
            hint = (
                f". It was never finished: the process still records, or it died. `joulebench replay {partial}` reads "
                "the minutes that were complete"
            )
        raise UsageError(f"cannot read the trace {path}: {error.strerror or error}{hint}") from error


def _merged(numbers: Sequence[int | None], texts: Sequence[str | None]) -> Iterator[Raw]:
    """Yield what a channel said: its number, its words where there was none, or None."""
    return (text if number is None else number for number, text in zip(numbers, texts, strict=True))
