"""What goes wrong by what a user did or met, as opposed to bugs."""


class DescantError(Exception):
    """What a user did or met that stops the work: one line saying what, the value, what is allowed, what to do."""


class ControlError(DescantError):
    """A control was given a value outside what it allows."""
