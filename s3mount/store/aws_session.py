"""botocore's sessions: where s3mount meets the AWS configuration of a machine.

botocore is imported when it is first needed: it costs 0.2 s, more than a whole command that reads from the cache.
The modules that ask for credentials and for endpoints both come here, so a wrong profile is told in one place.
"""

from typing import Any

from s3mount.errors import ConfigError


def new_session(profile: str) -> Any:  # noqa: ANN401
    """A botocore session that has read nothing yet; ``profile`` empty means what the environment says.

    Raises:
        ConfigError: the profile is not in the AWS files, or these cannot be parsed.
    """
    import botocore.exceptions
    import botocore.session

    session = botocore.session.Session(profile=profile or None)
    try:
        session.get_scoped_config()
    except botocore.exceptions.ProfileNotFound as error:
        raise ConfigError(
            f"{error}", hint="see `aws configure list-profiles`, --profile and AWS_PROFILE"
        ) from error
    except botocore.exceptions.BotoCoreError as error:
        raise ConfigError(f"the AWS configuration cannot be read: {error}") from error
    return session
