from __future__ import annotations
from tests.sources.clevertap.conftest import *

def test_first(make):
    p = make("Charged", "App Launched")
    p.simulator.add_events(PROJECT, events("Charged", 120) + events("App Launched", 60, day="20260310"))
    p.settings["batch_size"] = 50
    c = p.run()
    assert c["new"] == 180 and set(p.table) == set(p.truth()), c
    assert not p.notes
    c = p.run()
    assert not c["new"]
