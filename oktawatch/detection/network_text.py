"""Describe the network of an event's client address in an alert's title."""

from oktawatch.model.event import Event


def network_text(event: Event, service: str | None) -> str:
    """Return the known details of the network, such as ``IP=203.0.113.7, ISP=Example Transit``, or an empty string.

    ``service`` is the operator of the anonymizer.
    """
    parts = {
        "IP": event.client_ip,
        "ASO": event.as_org,
        "ISP": event.isp,
        "Domain": event.domain,
        "Service": service,
    }
    return ", ".join(f"{label}={value}" for label, value in parts.items() if value)
