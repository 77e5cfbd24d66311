"""The error tree tells the SDK, and us, what to do next."""

from target_mainbrainer import errors


def test_every_error_has_a_code_of_its_own_for_the_report() -> None:
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, Exception)]
    ours = [c for c in classes if issubclass(c, errors.TargetMainBrainerError)]
    assert len({c.code for c in ours}) == len(ours)


def test_a_run_may_fail_for_several_reasons() -> None:
    error = errors.DeliveryError(errors.Reason("max_rejects", "Too many."), "Not confirmed.")
    assert str(error) == "Too many. Not confirmed."
    assert error.reasons == [("max_rejects", "Too many."), ("not_delivered", "Not confirmed.")]
    both = errors.SettingsError(["A is missing.", "B is missing."])
    assert str(both) == "A is missing. B is missing."
    assert [reason.code for reason in both.reasons] == ["settings", "settings"]
