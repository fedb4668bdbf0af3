"""What needs no HTTP."""

import pytest

from wxlogin.sandbox.state import SandboxState


def test_a_sandbox_without_an_app_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one app"):
        SandboxState({})


def test_the_apps_cannot_be_changed_from_outside() -> None:
    apps = {"wx1": "secret"}
    state = SandboxState(apps)

    apps["wx2"] = "secret"

    assert list(state.apps) == ["wx1"]


def test_what_is_kept_does_not_show_its_secrets() -> None:
    state = SandboxState({"wx1": "secret"})
    issued = state.issue_code()

    user = state.exchange_code(issued.code, "wx1")

    assert issued.code not in repr(issued)
    assert user.session_key not in repr(user)
