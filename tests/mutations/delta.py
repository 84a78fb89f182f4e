"""What Delta tables promise, each broken; their tests run where deltalake is."""

from .mutation import MORE, Mutation

_WHERE = ".venv-delta"

DELTA = (
    Mutation(
        "overtaken by OPTIMIZE",
        MORE,
        "pipeline/load/delta.py",
        "max_commit_retries=0",
        "max_commit_retries=15",
        ("tests/load/test_delta.py::test_another_program_compacts",),
        _WHERE,
    ),
    Mutation(
        "bookmark beside the commit",
        MORE,
        "pipeline/load/delta.py",
        "commit_properties=CommitProperties(app_transactions=told,",
        "commit_properties=CommitProperties(app_transactions=[],",
        ("tests/load/test_delta.py::TestDelta::test_load",),
        _WHERE,
    ),
    Mutation(
        "completions before their children",
        MORE,
        "pipeline/load/delta.py",
        'for name in TABLES if name != "completions"), "completions")',
        "for name in TABLES),)",
        ("tests/load/test_delta.py::test_completions_come_last",),
        _WHERE,
    ),
    Mutation(
        "log not synced",
        MORE,
        "pipeline/load/place.py",
        "                files.sync_file(log / name)\n",
        "",
        ("tests/load/test_delta.py::test_nothing_counts_before_it_is_durable",),
        _WHERE,
    ),
    Mutation(
        "old versions keep what is forgotten",
        MORE,
        "pipeline/forget.py",
        "assemble.delta(config, folder).purge([archive.source for archive in archives])",
        "pass",
        ("tests/truth/test_delta.py::test_what_is_forgotten_is_in_no_version[folder]",),
        _WHERE,
    ),
    Mutation(
        "rows of others replaced",
        MORE,
        "pipeline/load/rewrite.py",
        "kept = [touch(mine) if touch else mine, without(rows, [source])]",
        "kept = [touch(mine) if touch else mine]",
        ("tests/load/test_delta.py::test_another_program_compacts[False]",),
        _WHERE,
    ),
    Mutation(
        "files of other folders purged",
        MORE,
        "pipeline/load/delta.py",
        "if self.place.is_ours or prefix_of(path) in prefixes",
        "if prefix_of(path)",
        ("tests/load/test_delta.py::test_forgetting_leaves_what_others_are_about_to_commit[folder-staged]",),
        _WHERE,
    ),
    Mutation(
        "bookmarks outlive their rows",
        MORE,
        "pipeline/load/delta.py",
        'f"pipeline/{table.metadata().id}/{source}"',
        'f"pipeline/{table.metadata().configuration[LAYOUT]}/{source}"',
        ("tests/load/test_delta.py::test_bookmarks_go_with_their_rows[folder]",),
        _WHERE,
    ),
    Mutation(
        "bookmark over what a table lost",
        MORE,
        "pipeline/load/delta.py",
        "if held < told.get(source, 0):",
        "if held < 0:",
        ("tests/load/test_delta.py::test_a_table_that_goes_during_a_run[before-removed]",),
        _WHERE,
    ),
)
