"""The event names of a generated project, with what its schema page says of each."""

from __future__ import annotations

from typing import Literal

from millrace.data.dataclass import dataclass

FIRST, LAST = -1_000_000, 1_000_000
NEW_EVENT, NEW_EVENT_DAY = "Wishlist Shared", 20
DISCARDED_EVENT, DISCARD_DAY = "Old Banner Shown", 25


@dataclass(frozen=True, slots=True)
class Property:
    name: str
    type: Literal["String", "Integer", "Float", "Boolean", "Mixed", "List"] = "String"


@dataclass(frozen=True, slots=True)
class EventType:
    """A name of the catalogue. ``from_day`` and ``until_day`` count days from the account's first generated day."""

    name: str
    properties: tuple[Property, ...]
    system: bool = False
    from_day: int = FIRST
    until_day: int = LAST

    @property
    def retention(self) -> str:
        return "3 years" if self.name == DISCARDED_EVENT else "10 years"


def _event(name: str, properties: str = "", *, system: bool = False, start: int = FIRST, end: int = LAST) -> EventType:
    """Properties are written `name` or `name:Type`, with `, ` between."""
    parts = [part.partition(":") for part in properties.split(", ") if part]
    return EventType(name, tuple(Property(n, t or "String") for n, _, t in parts), system, start, end)  # pyright: ignore[reportArgumentType] - the table below is checked by a test


CAMPAIGN = "Campaign id, Campaign type, Campaign name, Variant"

CATALOG: tuple[EventType, ...] = (
    _event("App Installed", "CT Source, CT App Version:Mixed, CT Latitude:Float, CT Longitude:Float", system=True),
    _event(
        "App Launched",
        "CT App Version:Mixed, CT SDK Version:Integer, CT OS Version, CT Source, CT Network Carrier, CT Network Type, "
        "CT Connected To WiFi:Boolean, CT Bluetooth Enabled:Boolean, CT Latitude:Float, CT Longitude:Float, "
        "CT Session Id:Integer, Make, Model",
        system=True,
    ),
    _event("App Uninstalled", "CT Source, clevertapId, token, source", system=True),
    _event("App Version Changed", "CT App Version:Mixed, CT App Version Prev, CT Source", system=True),
    _event("Web Session Started", "CT Source", system=True),
    _event("Session Concluded", "Session Length:Integer, Session Id:Integer", system=True),
    _event("UTM Visited", "Install, Campaign id, Campaign type, Variant, CT Source, CT App Version:Mixed", system=True),
    _event(
        "Charged",
        "Amount:Mixed, Currency, Payment mode, Charged ID:Integer, Items:List, Price Tier:Mixed, CT Source, "
        "CT App Version:Mixed, CT Session Id:Integer",
        system=True,
    ),
    _event("Identity Set", "ID, Type, Dropped History:Boolean, Source", system=True),
    _event("Identity Reset", "ID, User, Source", system=True),
    _event("Reachable By", "type, value, state", system=True),
    _event("Push Unregistered", "Token Type, Token Value, Source", system=True),
    _event("Notification Clicked", CAMPAIGN + ", wzrk_id, wzrk_pivot, wzrk_c2a, wzrk_dl, CT Source", system=True),
    _event(
        "Push Impressions", "wzrk_id, wzrk_pivot, wzrk_acct_id, wzrk_ttl:Integer, Campaign type, CT Source", system=True
    ),
    _event("Notification Sent", CAMPAIGN, system=True),
    _event("Notification Viewed", CAMPAIGN + ", wzrk_id, User Agent, CT Source", system=True),
    _event("Notification Bounce", CAMPAIGN, system=True),
    _event("Notification Rendered", CAMPAIGN, system=True),
    _event("Notification Control Group", CAMPAIGN, system=True),
    _event("Notification System Control Group", CAMPAIGN, system=True),
    _event(
        "Product Viewed",
        "Product ID:Integer, Product, Category, Price:Mixed, Tags:Mixed, Badge, Legacy Rank:Integer, CT Source, "
        "CT App Version:Mixed, CT Session Id:Integer",
    ),
    _event(
        "Added To Cart", "Product ID:Integer, Product, Quantity:Mixed, Price:Mixed, CT Source, CT App Version:Mixed"
    ),
    _event("Removed From Cart", "Product ID:Integer, CT Source"),
    _event("Search", "Query, Results:Integer, Filters:List, CT Source"),
    _event("Checkout Started", "Cart Value:Float, Items Count:Integer, CT Source, CT App Version:Mixed"),
    _event("Coupon Applied", "Code, Discount:Mixed, CT Source"),
    _event("Refund Issued", "Charged ID:Integer, Amount:Mixed, Reason, CT Source"),
    _event("Tutorial Complete", "Steps:Integer, Skipped:Boolean, CT Source, CT App Version:Mixed"),
    _event("tutorial complete", "Steps:Integer, CT Source"),
    _event("Sign Up", "Method, CT Source"),
    _event("Login", "Method, CT Source"),
    _event("Subscription Renewed", "Plan, Amount:Float, Renewed On, CT Source"),
    _event("Support Ticket Created", "Topic, Message, Ticket Number:Integer, CT Source"),
    _event("Rating Given", "Stars:Mixed, Comment, CT Source"),
    _event("Livraison Prévue", "Date de livraison, Point relais, Colis:Integer, CT Source"),
    _event(NEW_EVENT, "Recipients:Integer, Channel, CT Source", start=NEW_EVENT_DAY),
    _event(DISCARDED_EVENT, "Banner, CT Source", end=DISCARD_DAY),
)

BY_NAME = {event.name: event for event in CATALOG}
EXPORTABLE = tuple(event.name for event in CATALOG if not event.name.startswith("Notification S"))
