"""What the settings of connectors keep to themselves."""

from __future__ import annotations

import pydantic
import pytest

from millrace.connect.config import Secret, Settings


class Door(Settings):
    key: Secret
    width: int = 1


@pytest.mark.parametrize(
    "wrong", [{"key": ["hush-hush"]}, {"key": "x", "width": "hush-hush"}, {"key": "x", "hush-hush": 1}]
)
def test_an_error_of_settings_does_not_show_what_was_typed(wrong: dict[str, object]) -> None:
    with pytest.raises(pydantic.ValidationError) as refused:
        Door.model_validate(wrong)
    shown = str(refused.value)
    # The name of a key is no value.
    assert "hush-hush" not in shown.replace("\nhush-hush\n", "\n")
