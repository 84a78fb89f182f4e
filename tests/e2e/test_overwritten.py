"""On servers that store an id again in place, the completion moves and is still held once."""

from contextlib import closing

import pipeline
from pipeline.sandbox.shape import Shape

from .place import NOW, Place, completion, in_parquet, in_snapshot


def test_an_id_stored_again_at_another_time_replaces_the_old_one(tmp_path):
    """Its rows of the old date go, those of the new date come, and every other completion stays."""
    with Place(tmp_path, Shape.named("ogx")) as place:
        for day in range(30):
            place.add(NOW - 86_400 * (30 - day), 2)
        moving = place.add(NOW - 86_400 * 20)[0]
        place.run()
        place.clock.advance(3600)
        place.store.add({**completion(moving, NOW + 1000), "model": "another"})
        result = place.run()
        assert (result.sources[0].new, result.sources[0].changed) == (0, 1)
        assert in_snapshot(place.data) == in_parquet(place.data) == sorted(place.store.visible_ids())
        with closing(pipeline.connect(place.data)) as connection:
            sql = "SELECT created_unix, model FROM completions WHERE id = ?"
            assert connection.execute(sql, [moving]).fetchall() == [(NOW + 1000, "another")]
