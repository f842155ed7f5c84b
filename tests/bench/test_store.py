"""A run folder keeps every record, names every damaged line, and notices changed raw values."""

from pathlib import Path

import numpy as np
import pytest

from bench.cell import CostCell
from bench.errors import InputError
from bench.record import Conditions, Manifest, Record, parse_record
from bench.results import CostResult, Counts
from bench.store import MANIFEST, RECORDS, RunStore, suite_hash
from bench.timing import StepTimes

CELL = CostCell(model="minilm", strategy="full", batch_size=2, length=8)
CONDITIONS = Conditions(
    code_commit=None,
    code_dirty=None,
    code_fingerprint="c",
    versions={"torch": "2"},
    data_fingerprint=None,
    model_fingerprint="m",
    device="cpu",
    device_name="a CPU",
    driver=None,
    threads=1,
    precision="fp32",
    attention="sdpa",
    python="3.11",
    platform="Linux",
)


def record(cell: CostCell = CELL, *, reason: str | None = None) -> Record:
    step = StepTimes(median_seconds=1.0, quartile1_seconds=1.0, quartile3_seconds=1.0, p95_seconds=1.0, steps=2)
    counts = Counts(encoder_trainable=1, encoder_total=2, head_trainable=3)
    result = CostResult(group="g", step=step, memory=None, memory_reason="none", counts=counts, order_by_round=[0])
    return Record(
        key=cell.key,
        cell=cell,
        status="ok" if reason is None else "error",
        reason=reason,
        started_utc="2026-01-01T00:00:00+00:00",
        wall_seconds=1.5,
        conditions=CONDITIONS,
        cost=None if reason else result,
    )


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    manifest = Manifest(suite="s", suite_hash="h", cells=[CELL], created_utc="2026-01-01T00:00:00+00:00", command=[])
    return RunStore.create(tmp_path / "run", manifest)


def test_records_and_their_arrays_come_back_as_written(store: RunStore) -> None:
    seconds = np.array([[0.1, 0.2], [0.3, 0.4]])
    written = store.append(record(), {"step_seconds": seconds})
    reopened = RunStore.open(store.folder)
    records, bad = reopened.read()
    assert records == [written]
    assert bad == []
    assert np.array_equal(reopened.arrays(written)["step_seconds"], seconds)


def test_the_last_record_of_a_key_counts(store: RunStore) -> None:
    store.append(record(reason="out of luck"))
    store.append(record())
    assert [r.status for r in store.read()[0]] == ["error", "ok"]
    assert store.latest()[CELL.key].status == "ok"


def test_a_cut_line_is_named_and_nothing_else_is_lost(store: RunStore) -> None:
    store.append(record())
    path = store.folder / RECORDS
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    store.append(record(reason="after the cut"))
    records, bad = store.read()
    assert [r.status for r in records] == ["ok", "error"]
    assert [line.number for line in bad] == [2]
    assert "line 2: not JSON" in str(bad[0])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"[]", "schema version None"),
        (b'{"schema_version": 99}', "schema version 99"),
        (b'{"schema_version": 1}', "Field required"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_a_line_that_is_no_record_is_named_with_the_reason(store: RunStore, line: bytes, said: str) -> None:
    (store.folder / RECORDS).write_bytes(line + b"\n")
    records, bad = store.read()
    assert records == []
    assert said in bad[0].reason


def test_changed_raw_values_are_noticed(store: RunStore) -> None:
    written = store.append(record(), {"step_seconds": np.ones((1, 1))})
    assert written.sidecar is not None
    path = store.folder / written.sidecar.path
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="does not match the hash"):
        store.arrays(written)
    path.unlink()
    with pytest.raises(InputError, match="cannot read"):
        store.arrays(written)


def test_a_second_process_is_kept_out(store: RunStore) -> None:
    other = RunStore.open(store.folder)
    with store.lock(), pytest.raises(InputError, match="in use"), other.lock():
        pytest.fail("two writers at once")
    with other.lock():
        assert other.manifest.suite == "s"


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        RunStore.open(tmp_path)
    (tmp_path / "run.json").write_text('{"schema_version": 1}')
    with pytest.raises(InputError, match=r"run\.json is damaged: suite"):
        RunStore.open(tmp_path)


def test_a_run_is_not_begun_over_another(store: RunStore) -> None:
    with pytest.raises(InputError, match="already holds a run"):
        RunStore.create(store.folder, store.manifest)


def test_a_record_whose_key_is_not_its_cells_is_refused() -> None:
    with pytest.raises(ValueError, match="is not the key of its cell"):
        Record.model_validate(record().model_dump() | {"key": "other"})


def test_a_suite_is_known_by_its_keys_in_any_order() -> None:
    assert suite_hash(["a", "b"]) == suite_hash(["b", "a"])
    assert suite_hash(["a", "b"]) != suite_hash(["a", "c"])


def test_records_without_their_manifest_are_not_taken_over(store: RunStore) -> None:
    store.append(record())
    manifest = store.manifest
    (store.folder / MANIFEST).unlink()
    with pytest.raises(InputError, match=f"no {MANIFEST}"):
        RunStore.create(store.folder, manifest)


def test_a_manifest_of_garbage_is_named(store: RunStore) -> None:
    (store.folder / MANIFEST).write_bytes(b"\xff\xfe\x00garbage")
    with pytest.raises(InputError, match="damaged"):
        RunStore.open(store.folder)


def test_records_that_are_no_file_are_named(store: RunStore) -> None:
    (store.folder / RECORDS).mkdir()
    with pytest.raises(InputError, match="cannot read"):
        store.read()


def test_records_of_old_are_read() -> None:
    lines = (Path(__file__).parent / "records" / "schema-1.jsonl").read_text(encoding="utf-8").splitlines()
    quality, cost = (parse_record(line) for line in lines)
    assert quality.quality is not None
    assert quality.quality.swap_seconds == []
    assert cost.cost is not None
