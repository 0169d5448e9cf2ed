# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Every sample exactly once per epoch, for 1, 2 and 3 ranks."""
import ringfeed
import scene


def read_epoch(loader):
    """position -> (index, label) of one pass; a position twice is an error."""
    rows = {}
    for batch in loader:
        labels = batch["label"].tolist()
        for position, index, label, valid in zip(batch.position.tolist(), batch.index.tolist(), labels,
                                                 batch.valid.tolist()):
            assert position not in rows
            rows[position] = (index, label, valid)
    return rows


def ranks(folder):
    shards = scene.pack_photos(folder, "in", scene.photos("imagenet-sample"), 150)
    config = scene.write_config(folder, {"train": scene.feed(shards, size=16, slots=2,
                                                             batch={"size": 16, "last": "short"})})
    with scene.Daemon(config) as daemon:
        seen = []
        for world in (1, 2, 3):
            union = {}
            loaders = [ringfeed.Loader("train", socket=daemon.socket, rank=r, world_size=world,
                                       local_world_size=world, group=f"world{world}") for r in range(world)]
            for rank, loader in enumerate(loaders):
                rows = read_epoch(loader)
                assert all(p % world == rank for p in rows)
                union.update(rows)
            for loader in loaders:
                loader.close()
            assert sorted(union) == list(range(600))
            assert sorted(index for index, _, _ in union.values()) == list(range(600))
            assert all(index == label and valid for index, label, valid in union.values())
            seen.append(union)
        assert seen[0] == seen[1] == seen[2]


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([ranks])
