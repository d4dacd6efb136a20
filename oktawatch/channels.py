"""The public interface for authors of notification channels.

Import everything that a channel needs from here. Semantic versioning covers only this module and ``oktawatch.rules``: a
name documented in docs/notifications.md changes its meaning or goes away only with a new major version. All other
modules may change in any release.

    from oktawatch.channels import DeliveryError, Message, NotifierSettings, Way
"""

from oktawatch.config.notifiers import NotifierSettings
from oktawatch.config.validators import File, Secret
from oktawatch.model.severity import Severity
from oktawatch.notify.channel import Channel, DeliveryError, Way
from oktawatch.notify.message import Line, Message

__all__ = [
    "Channel",
    "DeliveryError",
    "File",
    "Line",
    "Message",
    "NotifierSettings",
    "Secret",
    "Severity",
    "Way",
]
