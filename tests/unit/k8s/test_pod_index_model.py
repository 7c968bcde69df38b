"""After any sequence of messages the index is what a plain model of the API is."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from index_rig import Clock, pod, ref, service, unused

from rover.k8s.index import PodIndex
from rover.k8s.records import (
    PodGone,
    PodSeen,
    PodsListed,
    ServiceGone,
    ServiceSeen,
    ServicesListed,
)

NAMES = ("a", "b", "c")
LABELS = st.dictionaries(st.sampled_from(("app", "tier")), st.sampled_from("xy"), max_size=2)
PODS = st.builds(
    lambda name, generation, labels, runs: pod(
        name,
        f"{name}{generation}",
        labels=labels,
        ids=tuple(f"{name}{generation}-{at}-{run}" if run else "" for at, run in enumerate(runs)),
    ),
    st.sampled_from(NAMES),
    st.integers(0, 1),
    LABELS,
    st.lists(st.integers(0, 2), min_size=1, max_size=2),
)
SERVICES = st.builds(
    lambda name, selector: service(name, **selector), st.sampled_from(("s", "t", "longer")), LABELS
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), PODS),
        st.tuples(st.just("delete"), st.sampled_from(NAMES)),
        st.tuples(st.just("relist"), st.lists(PODS, max_size=3)),
        st.tuples(st.just("service"), SERVICES),
        st.tuples(st.just("no service"), st.sampled_from(("s", "t", "longer"))),
        st.tuples(st.just("services"), st.lists(SERVICES, max_size=3)),
        st.tuples(st.just("wait"), st.sampled_from((1.0, 100.0))),
    ),
    max_size=30,
)


EVERY_ID = {f"{n}{g}-{at}-{run}" for n in NAMES for g in (0, 1) for at in (0, 1) for run in (1, 2)}


class Truth:
    """What the API holds, worked out in the plainest way."""

    def __init__(self):
        self.pods, self.services = {}, {}

    def messages(self, step, value):
        """Make a step happen; yield what a watch would tell of it."""
        match step:
            case "put":
                known = self.pods.get(value.key)
                if known and known.uid != value.uid:
                    yield PodGone(known)
                self.pods[value.key] = value
                yield PodSeen(value)
            case "delete" if ("shop", value) in self.pods:
                yield PodGone(self.pods.pop(("shop", value)))
            case "relist":
                self.pods = {each.key: each for each in value}
                yield PodsListed(tuple(self.pods.values()))
            case "service":
                self.services[value.key] = value
                yield ServiceSeen(value)
            case "no service" if ("shop", value) in self.services:
                yield ServiceGone(self.services.pop(("shop", value)))
            case "services":
                self.services = {each.key: each for each in value}
                yield ServicesListed(tuple(self.services.values()))

    def all(self):
        return {key: (one, self.service_of(one)) for key, one in self.pods.items()}

    def service_of(self, one):
        names = [
            each.name
            for each in self.services.values()
            if each.selector and all(one.labels.get(name) == value for name, value in each.selector)
        ]
        return min(names, key=lambda name: (len(name), name), default="")


@settings(max_examples=300)
@given(STEPS)
def test_after_any_events_the_index_is_the_truth_and_told_all_it_changed(steps):
    clock = Clock()
    index = PodIndex(grace=60.0, clock=clock)
    truth = Truth()
    for step, value in steps:
        if step == "wait":
            clock.now += value
            index.expire(unused)
            continue
        before = {each: index.find(ref(each)) for each in EVERY_ID}
        told = frozenset().union(*(index.apply(each) for each in truth.messages(step, value)))
        changed = {each for each in EVERY_ID if before[each] != index.find(ref(each))}
        assert changed <= told
        assert "service" not in step or changed == told
        assert index.pods() == truth.all()
    index.apply(PodsListed(()))
    index.apply(ServicesListed(()))
    clock.now += 1_000.0
    index.expire(unused)
    assert index.figures == dict.fromkeys(index.figures, 0)
    left = (index._by_label, index._by_path, index._by_container, index._entries)
    assert not any(left)
