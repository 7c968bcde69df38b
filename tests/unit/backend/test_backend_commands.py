from __future__ import annotations

from rover._proto.common.Command_pb2 import Commands
from rover.backend.commands import Command, Script


def commands_of(script, agent="a"):
    return [command.command for command in script.answer(agent).commands]


def test_scripted_commands_answer_one_beat_each_then_nothing():
    script = Script()
    script.add(Command("one", {"k": "v"}), Command("two"))
    script.add()
    script.add(Command("three"), beats=2)
    assert [commands_of(script) for _ in range(5)] == [
        ["one", "two"],
        [],
        ["three"],
        ["three"],
        [],
    ]


def test_a_command_carries_its_arguments():
    script = Script()
    script.add(Command("c", {"k": "v", "l": "w"}))
    (command,) = Commands.FromString(script.answer("").SerializeToString()).commands
    assert {pair.key: pair.value for pair in command.args} == {"k": "v", "l": "w"}


def test_commands_for_one_agent_wait_for_its_beat():
    script = Script()
    script.add(Command("for b"), agent_id="b")
    script.add(Command("for any"))
    assert commands_of(script, "a") == ["for any"]
    assert commands_of(script, "a") == []
    assert commands_of(script, "b") == ["for b"]


def test_a_cleared_script_answers_nothing():
    script = Script()
    script.add(Command("c"), beats=5)
    script.clear()
    assert commands_of(script) == []
