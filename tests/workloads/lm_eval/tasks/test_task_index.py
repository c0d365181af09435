import json
import os
from pathlib import Path

import pytest

from app.workloads.lm_eval.tasks import task_index
from app.workloads.lm_eval.tasks.task_index import Duplicate, TaskIndex
from app.workloads.lm_eval.tasks.task_yaml import Scan, scan

_TASK = "task: {name}\ntag: {tag}\ndataset_path: json\noutput_type: multiple_choice\nnum_fewshot: 2\n"


@pytest.fixture(scope="module")
def index() -> TaskIndex:
    return TaskIndex.load()


def _write_task(root: Path, name: str, tag: str = "ours") -> Path:
    path = root / f"{name}.yaml"
    path.write_text(_TASK.format(name=name, tag=tag))
    return path


def test_an_entry_says_what_the_harness_needs(index: TaskIndex) -> None:
    entry = index.get("arc_easy")
    assert entry is not None
    assert entry.yaml_path is not None
    assert entry.yaml_path.is_file()
    assert (entry.kind, entry.output_type, entry.dataset_name) == ("task", "multiple_choice", "ARC-Easy")
    assert entry.to_json() == {
        "name": "arc_easy",
        "kind": "task",
        "yaml_path": str(entry.yaml_path),
        "tags": ["ai2_arc"],
    }


def test_tasks_that_run_model_output_are_marked(index: TaskIndex) -> None:
    assert [bool(entry and entry.unsafe_code) for entry in map(index.get, ("humaneval", "arc_easy"))] == [
        True,
        False,
    ]


def test_groups_tags_and_patterns_become_tasks(index: TaskIndex) -> None:
    assert len(index.expand(["mmlu"])) == 57
    assert index.expand(["ai2_arc"]) == ["arc_challenge", "arc_easy"]
    assert index.expand(["arc_eas[y]", "arc_easy"]) == ["arc_easy"]
    assert index.resolve(["mmlu_st?m"]) == ["mmlu_stem"]


def test_closure_holds_subgroups_tags_and_members(index: TaskIndex) -> None:
    kinds = {entry.name: entry.kind for entry in index.closure(["mmlu", "ai2_arc"])}
    assert kinds["mmlu"] == "group"
    assert kinds["mmlu_stem"] == "group"
    assert kinds["mmlu_anatomy"] == "task"
    assert kinds["ai2_arc"] == "tag"
    assert kinds["arc_easy"] == "task"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("arc_esay", "arc_easy"),
        ("HellaSwag", "hellaswag"),
        ("mmlu-pro", "mmlu_pro"),
        ("gsm8k_ct", "gsm8k_cot"),
    ],
)
def test_a_misspelt_name_finds_its_neighbour(index: TaskIndex, wrong: str, right: str) -> None:
    assert index.near(wrong)[0] == right


def test_all_faults_of_a_list_come_at_once(index: TaskIndex) -> None:
    faults = index.faults(["arc_esay", "mmlu", "mmlu_anatomy", "/etc/x.yaml", "t0_eval"])
    assert [fault.path for fault in faults] == ["tasks.0", "tasks.3", "tasks", "tasks"]
    assert faults[0].allowed is not None
    assert faults[0].allowed[0] == "arc_easy"
    assert "EVALQ_TASK_PATHS" in faults[1].message
    assert "would run twice: under 'mmlu' and under 'mmlu_anatomy'" in faults[2].message
    assert "neither `task` nor `group`" in faults[3].message
    assert index.faults(["arc_easy"]) == []
    assert index.faults([])[0].message == "name at least one task"


def test_a_pattern_that_matches_groups_and_their_tasks_is_refused_in_few_words(index: TaskIndex) -> None:
    faults = index.faults(["mmlu_*"])
    assert len(faults) < 20
    assert any("name the groups, or the tasks, not both" in fault.message for fault in faults)


def test_a_tag_beside_its_own_task_is_no_duplicate(index: TaskIndex) -> None:
    assert index.duplicates(["ai2_arc", "arc_easy"]) == []
    assert index.duplicates(["mmlu_stem", "mmlu"])[0] == Duplicate(
        "mmlu_abstract_algebra", "mmlu_stem", "mmlu"
    )


def test_search_ranks_and_pages(index: TaskIndex) -> None:
    first = index.search("mmlu anatomy", limit=2)
    second = index.search("mmlu anatomy", limit=2, cursor=first.next_cursor)
    names = [entry.name for entry in first.entries + second.entries]
    assert len(set(names)) == 4
    assert all("mmlu" in name and "anatomy" in name for name in names)
    assert index.search("arc_easy", limit=1).entries[0].name == "arc_easy"
    assert index.search("no such task").next_cursor is None
    assert index.search("allenai/ai2_arc").entries


def test_pages_reach_every_name_once(index: TaskIndex) -> None:
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = index.search("hellaswag", limit=7, cursor=cursor)
        seen += [entry.name for entry in page.entries]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == len(index.search("hellaswag", limit=1000).entries)


def test_the_operators_tasks_stand_beside_lm_evals(tmp_path: Path) -> None:
    _write_task(tmp_path, "ours_a")
    _write_task(tmp_path, "ours_b")
    index = TaskIndex.load([tmp_path])
    entry = index.get("ours_a")
    assert entry is not None
    assert (entry.yaml_path, entry.num_fewshot) == (tmp_path / "ours_a.yaml", 2)
    assert index.expand(["ours"]) == ["ours_a", "ours_b"]
    assert index.expand(["ours_*", "arc_easy"]) == ["ours_a", "ours_b", "arc_easy"]


def test_a_later_folder_overrides_an_earlier_one(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        _write_task(folder, "arc_easy")
    index = TaskIndex.load([first, second])
    assert (entry := index.get("arc_easy")) is not None
    assert entry.yaml_path == second / "arc_easy.yaml"


def test_a_file_is_a_name_only_inside_the_operators_folders(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    path = _write_task(root, "ours_a")
    outside = _write_task(tmp_path, "outside")
    index = TaskIndex.load([root])
    assert index.expand([str(path)]) == ["ours_a"]
    assert index.unknown([str(path), str(outside)]) == [str(outside)]
    assert index.unknown([f"{root}/../outside.yaml"]) != []


def test_a_folder_or_a_pattern_stands_for_the_tasks_of_its_files(tmp_path: Path) -> None:
    root = tmp_path / "root"
    deep = root / "folder" / "deep"
    deep.mkdir(parents=True)
    for folder, name in ((root, "top"), (root / "folder", "b"), (root / "folder", "a"), (deep, "below")):
        _write_task(folder, name)
    (root / "folder" / "_template.yaml").write_text("output_type: generate_until\n")
    (root / "folder" / "g.yaml").write_text("group: ours_g\ntask: [top]\n")
    _write_task(tmp_path, "outside")
    (root / "link").symlink_to(tmp_path)
    (root / "ring").symlink_to(root / "ring")
    index = TaskIndex.load([root])
    assert index.resolve([f"{root}/folder"]) == ["a", "b", "ours_g"]
    assert index.resolve([f"{root}/folder/", f"{root}/folder/*.yaml"]) == ["a", "b", "ours_g"]
    assert index.resolve([f"{root}/fol?er/[ab].yaml"]) == ["a", "b"]
    assert index.resolve([f"{root}/*/*/*.yaml"]) == ["below"]
    assert index.expand([f"{root}/folder"]) == ["a", "b", "top"]
    nothing = [f"{root}/*.yml", f"{root}/**", str(tmp_path), f"{tmp_path}/*.yaml", f"{root}/link/*.yaml"]
    assert index.unknown([*nothing, f"{root}/ring", "/", "/*/*.yaml"]) == [
        *nothing,
        f"{root}/ring",
        "/",
        "/*/*.yaml",
    ]
    inside, outside = index.faults([f"{root}/folder/x.yaml", str(tmp_path)])
    assert "no task file at 'x.yaml' defines a task" in inside.message
    assert "EVALQ_TASK_PATHS" in outside.message


def test_includes_functions_and_inline_members_are_read(tmp_path: Path) -> None:
    (tmp_path / "_base").write_text(
        "dataset_path: json\noutput_type: generate_until\ntask_list: [x]\ntask: base\n"
    )
    (tmp_path / "a.yaml").write_text("include: _base\ntask: ours_a\ndoc_to_text: !function utils.text\n")
    (tmp_path / "g.yaml").write_text(
        "group: ours_g\ntask:\n  - ours_a\n  - task: ours_a\n    num_fewshot: 1\n  - task: own\n"
        "    dataset_path: json\n  - group: inner\n    task: [ours_a, deep]\n"
    )
    index = TaskIndex.load([tmp_path])
    assert (entry := index.get("ours_a")) is not None
    assert entry.output_type == "generate_until"
    assert index.expand(["ours_g"]) == ["ours_a", "ours_g::own", "ours_g::inner::deep"]
    assert [entry.name for entry in index.closure(["ours_g"])] == ["ours_g", "ours_a"]


def test_a_broken_file_hides_itself_only(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("task: [")
    (tmp_path / "cycle.yaml").write_text("include: cycle.yaml\ntask: cyclic\n")
    (tmp_path / "list.yaml").write_text("- a\n")
    (tmp_path / "lost.yaml").write_text("include: nowhere\ntask: lost\n")
    (tmp_path / "unsafe.yaml").write_text("task: !!python/object/apply:os.getcwd []\n")
    (tmp_path / "number.yaml").write_text("task: 5\n")
    (tmp_path / "nul.yaml").write_text('task: "a\\0b"\n')
    (tmp_path / "empty.yaml").write_text('task: ""\n')
    (tmp_path / "where.yaml").write_text('task: where\ninclude: "a\\0b"\n')
    (tmp_path / "digits.yaml").write_text(f"task: digits\nnum_fewshot: {'9' * 5000}\n")
    (tmp_path / "day.yaml").write_text("task: day\nx: 2024-99-99\n")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / os.fsdecode(b"\xff.yaml")).write_text("task: unspeakable\n")
    (tmp_path / "odd.yaml").write_text(
        'task: odd\ntag: [5, null, {a: b}, "x\\0", odd_tag]\ndescription: "a\\0"\ntask_alias: [1]\n'
    )
    (tmp_path / "group.yaml").write_text(
        "group: odd_group\ntask: [5, null, [a], {task: [1]}, {group: {a: b}}]\n"
    )
    _write_task(tmp_path, "fine")
    index = TaskIndex.load([tmp_path])
    assert index.resolve(["fine"]) == ["fine"]
    gone = ["cyclic", "lost", "where", "digits", "day", "unspeakable"]
    assert index.unknown(gone) == gone
    assert index.resolve(["odd", "odd_tag"]) == ["odd", "odd_tag"]
    assert index.faults(["odd_group"])
    for entry in (index.get(name) for name in index.names):
        assert entry is not None
        json.dumps([entry.to_json(), entry.description]).encode()
    assert index.search("fine").entries


def test_a_group_inside_itself_ends(tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text("group: ring\ntask: [ring, fine]\n")
    _write_task(tmp_path, "fine")
    index = TaskIndex.load([tmp_path])
    assert index.expand(["ring"]) == ["fine"]
    assert {entry.name for entry in index.closure(["ring"])} == {"ring", "fine"}


def test_a_folder_is_read_again_only_when_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "_base").write_text("output_type: generate_until\n")
    path = tmp_path / "a.yaml"
    path.write_text("include: _base\ntask: ours_a\n")
    scans: list[Path] = []

    def counted(root: Path) -> Scan:
        scans.append(root)
        return scan(root)

    monkeypatch.setattr(task_index, "scan", counted)

    def output_type(name: str) -> str | None:
        entry = TaskIndex.load([tmp_path]).get(name)
        return entry.output_type if entry else None

    assert [output_type("ours_a"), output_type("ours_a"), len(scans)] == [
        "generate_until",
        "generate_until",
        1,
    ]
    (tmp_path / "_base").write_text("output_type: multiple_choice\n")
    assert [output_type("ours_a"), len(scans)] == ["multiple_choice", 2]
    os.utime(path, ns=(1, 1))
    output_type("ours_a")
    _write_task(tmp_path, "ours_b")
    assert [output_type("ours_b"), len(scans)] == ["multiple_choice", 4]
    path.unlink()
    assert [output_type("ours_a"), len(scans)] == [None, 5]
