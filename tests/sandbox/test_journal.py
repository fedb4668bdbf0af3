"""What is remembered of calls, without HTTP."""

from wxlogin.sandbox.journal import MAX_CALLS, Journal


def test_how_a_call_was_answered_that_is_forgotten_meanwhile_is_not_noted() -> None:
    journal = Journal()
    first = journal.note_call("/first", {}, now=0)
    for _ in range(MAX_CALLS):
        journal.note_call("/later", {}, now=0)

    journal.note_errcode(first, 40029)

    assert {(call.path, call.errcode) for call in journal.calls()} == {("/later", None)}
