"""Images of the real node are what ``docker save`` writes, and `ctr images import` reads."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

from machines.node.images import archive


def test_an_archive_holds_one_layer_under_the_sum_that_its_configuration_names(tmp_path):
    tree = tmp_path / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin/web").write_text("web")
    place = tmp_path / "image.tar"
    archive(tree, "rover.test/web:1", place, command=["/bin/web"], variables=["A=b"])
    with tarfile.open(place) as written:
        read = {each.name: written.extractfile(each).read() for each in written.getmembers()}
    (listed,) = json.loads(read["manifest.json"])
    assert listed["RepoTags"] == ["rover.test/web:1"]
    described = json.loads(read[listed["Config"]])
    assert described["config"] == {"Cmd": ["/bin/web"], "Env": ["A=b"]}
    (layer,) = (read[name] for name in listed["Layers"])
    assert described["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as files:
        assert files.extractfile("./bin/web").read() == b"web"
    assert set(tmp_path.iterdir()) == {tree, place}, "nothing is left beside it"
