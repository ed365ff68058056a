"""The computer keyboard as a piano on the compose screen."""

from __future__ import annotations

from tests.studio.screens.staging import play, staged


def notes(asked):
    return [(deed[2]["midi"], deed[2]["velocity"] > 0) for deed in asked if deed[:2] == ("send", "note")]


def test_keys_are_notes_while_the_piano_is_on_and_commands_before_and_after(tmp_path):
    async def scene():
        async with staged(tmp_path, ticks=50) as stage:
            asked = stage.model.asked
            asked.clear()
            await stage.press("b")
            await stage.asked("branch")
            asked.clear()
            await stage.press("f4")
            assert ("awaits", True) in asked
            assert "piano" in stage.text("#head")
            for key in ("z", "b", "q", "right_square_bracket", "x"):
                await stage.press(key)
            # Released by time, not by another key: the terminal does not tell.
            await stage.until(lambda: sum(not on for _, on in notes(asked)) == 4)
            assert [midi for midi, on in notes(asked) if on] == [36, 43, 48, 50]
            await stage.press("tab")
            assert [d[2]["value"] for d in asked if d[:2] == ("send", "soft")] == [1.0, 0.0]
            await stage.press("f8")
            await stage.asked("panic")
            assert not {d[0] for d in asked} & {"branch", "quit", "seek", "loop", "play"}, "a slip is no command"
            asked.clear()
            await stage.press("f4", "b")
            await stage.asked("branch")
            assert not notes(asked)
            assert "piano" not in stage.text("#head")

    play(scene)


def test_what_sounds_ends_with_the_piano(tmp_path):
    async def scene():
        async with staged(tmp_path, ticks=50) as stage:
            await stage.press("f4", "z", "space", "f4")  # the pedal holds
            assert notes(stage.model.asked) == [(36, True), (36, False)]

    play(scene)
