from __future__ import annotations

import json

from tunecnn.listeners.json_lines import JsonLines


def test_what_a_person_would_be_warned_of_is_an_event_too(capsys):
    lines = JsonLines()
    lines.on_note("augmentation: none")
    lines.on_warning("node 10.0.0.7 gets no more trials")
    lines.on_trial_requeue(3, "its node is gone")
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"event": "note", "text": "augmentation: none"},
        {"event": "warning", "text": "node 10.0.0.7 gets no more trials"},
        {"event": "requeue", "trial": 3, "reason": "its node is gone"},
    ]
