"""What a device does in a day: sessions, the way to a purchase, and what happens without a session.

Property names are those of CleverTap's documentation of system events; the custom events are invented.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.simulators.clevertap.catalog import DISCARD_DAY, DISCARDED_EVENT, NEW_EVENT, NEW_EVENT_DAY

if TYPE_CHECKING:
    from millrace.simulators.clevertap.generator import Day

# First character of `session` only says that there are session properties; `{}` is written from b",".
NO_SESSION = b""
DIRECT = b',"session_source":"Direct"'
EMPTY = b","

GOODS = {
    "ecommerce": (
        ("Kettle", "Kitchen"), ("Bike Light", "Outdoor"), ("Rain Jacket", "Clothing"), ("Desk Lamp", "Home"),
               ("Crème brûlée set", "Kitchen"), ("Notebook", "Office"), ("Trail Shoes", "Clothing"),
        ("Tea: \\\"Früh\\\"", "Food"),
    ),
    "travel": (
        ("Lisbon 3 nights", "City"), ("Goa beach stay", "Beach"), ("Alps hut walk", "Hiking"),
        ("Kyoto in spring", "City"),
        ("नैनीताल weekend", "Hills"), ("Ferry to Crete", "Beach"), ("Night train", "Rail"), ("Fjord cruise", "Sea"),
    ),
}  # fmt: skip
CURRENCIES = (b"EUR", b"USD", b"INR")
QUERIES = (b"kettle", b"rain jacket", b"caf\xc3\xa9", b"\xe0\xa4\x9a\xe0\xa4\xbe\xe0\xa4\xaf", b"lamp 40w", b"")
SOURCES = (
    (b"google", b"cpc", b"Search"), (b"newsletter", b"email", b"Email"), (b"instagram", b"social", b"Social"),
    (b"partner.example.org", b"referral", b"Others"),
)  # fmt: skip
LONG_TEXT = ("The parcel came, but the lid of the kettle does not close – bitte prüfen. " * 8)[:512].encode()


def session(day: Day, number: int) -> None:
    """One session from its start to its conclusion, with the way to a purchase in between."""
    rng = day.rng
    start = t = day.moment()
    sid = day.start + start
    draw = rng.random()
    props = DIRECT if draw < 0.6 else EMPTY if draw < 0.7 else NO_SESSION
    if day.first and number == 0:
        props = _arrival(day, t) or props
    if day.is_app:
        _launch(day, t, sid, props)
    else:
        day.put("Web Session Started", t, day.common, props)
    if day.is_release and number == 0 and day.is_app:
        previous = day.since // 14 - 1
        day.put("App Version Changed", t, day.common + b',"CT App Version Prev":"6.%d.0"' % previous)
    t = _account(day, t, number)
    if rng.random() < 0.25:
        t += 1 + int(rng.random() * 40)
        query = QUERIES[int(rng.random() * len(QUERIES))]
        filters = (b"[]", b'["new"]', b'["new","sale"]')[int(rng.random() * 3)]
        day.put(
            "Search",
            t,
            b'"Query":"%b","Results":%d,"Filters":%b,%b' % (query, int(rng.random() * 90), filters, day.common),
            props,
        )
    t = _shop(day, t, sid, props)
    t = _extras(day, t, props)
    day.put("Session Concluded", t, b'"Session Length":%d,"Session Id":%d' % (t - start, sid), after_s=1200)


def without_session(day: Day) -> None:
    """What reaches the project of a device that did not open the app: removals, API uploads, campaigns."""
    rng = day.rng
    t = day.moment()
    draw = rng.random()
    identity = day.people.identity(day.user, day.day)
    if draw < 0.15 and day.is_app:
        found_after_s = int(rng.random() * 86400)
        device = day.people.object_id(day.device).encode()
        day.put(
            "App Uninstalled",
            t,
            b'"CT Source":"System","clevertapId":"%b","source":"probe"' % device,
            after_s=found_after_s,
        )
        day.put(
            "Push Unregistered",
            t,
            b'"Token Type":"FCM","Token Value":"sim-%d","Source":"CT_Push"' % day.device,
            after_s=found_after_s,
        )
    elif draw < 0.5 and identity is not None:
        # Renewals are uploaded by API, half of them long after the fact: up to 30 days.
        late_s = int(rng.random() * 30 * 86400) if rng.random() < 0.5 else 0
        props = b'"Plan":"gold","Amount":%a,"Renewed On":"$D_%d","CT Source":"API"' % (9.99 + day.user % 20, day.start)
        day.put("Subscription Renewed", t, props, after_s=late_s)
    else:
        campaign = _campaign(day)
        day.put("Notification Sent", t, campaign)
        if rng.random() < 0.5:
            day.put(
                "Push Impressions",
                t + 5,
                b'"wzrk_id":"%d_%d","wzrk_pivot":"wzrk_default",'
                b'"wzrk_acct_id":"%b","wzrk_ttl":%d,"Campaign type":"push","CT Source":"System"'
                % (1773470000 + day.since, day.user, day.account_id.encode(), day.start + 2419200),
            )


def _arrival(day: Day, t: int) -> bytes:
    """The first session of a new user; its session properties, when a campaign brought the user here."""
    rng = day.rng
    session = NO_SESSION
    if rng.random() < 0.12:
        source, medium, kind = SOURCES[int(rng.random() * len(SOURCES))]
        session = b',"utm_source":"%b","utm_medium":"%b","utm_campaign":"spring_%d","session_source":"%b"' % (
            source,
            medium,
            day.since,
            kind,
        )
        day.put(
            "UTM Visited",
            t,
            b'"Install":"y","Campaign id":"%d","Campaign type":"%b",%b' % (1773400000 + day.since, medium, day.common),
            session,
        )
    if day.is_app:
        day.put(
            "App Installed",
            t,
            day.common + b',"CT Latitude":%a,"CT Longitude":%a' % (48 + day.user % 90 / 16, 2 + day.user % 70 / 8),
        )
    if rng.random() < 0.4:
        day.put(
            "Tutorial Complete",
            t + 60,
            b'"Steps":%d,"Skipped":%b,%b' % (3 + day.user % 3, b"true" if day.user % 2 else b"false", day.common),
            session,
        )
        if rng.random() < 0.1:
            day.put("tutorial complete", t + 60, b'"Steps":%d,"CT Source":"Web"' % (3 + day.user % 3))
    if rng.random() < 0.5:
        day.put("Reachable By", t + 2, b'"type":"push","value":"sim-%d","state":"true"' % day.device)
    return session


def _launch(day: Day, t: int, sid: int, session: bytes) -> None:
    props = day.common + (
        b',"CT SDK Version":%d,"CT OS Version":"%d","CT Network Carrier":"Example Mobile","CT Network Type":"%b",'
        b'"CT Connected To WiFi":%b,"CT Session Id":%d,"CT Latitude":%a,"CT Longitude":%a'
        % (
            60200 + day.since // 14, 12 + day.user % 4, b"4G" if day.user % 2 else b"5G",
            b"true" if day.user % 3 else b"false", sid, 48 + day.user % 90 / 16, 2 + day.user % 70 / 8,
        )
    )  # fmt: skip
    # A device whose clock runs a year ahead is rare but real.
    day.put("App Launched", t, props, session, ahead_s=31536000 if day.rng.random() < 0.0004 else 0)


def _account(day: Day, t: int, number: int) -> int:
    """Sign-up on the day of login, the split of a shared identity, now and then a login. The second it ended."""
    rng = day.rng
    people, user = day.people, day.user
    if number == 0 and people.login_day(user) == day.day:
        t += 20
        identity = (people.identity(user, day.day) or "").encode()
        day.put("Sign Up", t, b'"Method":"email",' + day.common)
        day.put("Identity Set", t, b'"ID":"%b","Type":"new","Dropped History":false,"Source":"CT_SDK"' % identity)
    elif number == 0 and people.demerge_day(user) == day.day:
        day.put("Identity Reset", t, b'"ID":"cust-%d","User":"demerged","Source":"API"' % (80000 + user))
    if rng.random() < 0.1:
        t += 8
        # Logins on the web carry no properties at all.
        day.put("Login", t, b'"Method":"otp",' + day.common if day.is_app else b"")
    return t


def _shop(day: Day, t: int, sid: int, session: bytes) -> int:
    """Viewed, added to cart (30 % of views), checkout (45 % of carts), charged (60 %), refunded (2 %)."""
    rng = day.rng
    cart: list[tuple[int, int]] = []
    tail = b',%b,"CT Session Id":%d' % (day.common, sid) if day.is_app else b"," + day.common
    for _ in range(1 + int(rng.expovariate(0.8)) % 6):
        t += 3 + int(rng.random() * 60)
        product = int(rng.random() * 200)
        price = 100 + int(rng.lognormvariate(3.2, 0.8) * 100)
        view = _product(day, product, price) + tail
        day.put("Product Viewed", t, view, session)
        if rng.random() < 0.004:
            # Two genuine views in one second that nothing can tell apart.
            day.put("Product Viewed", t, view, session)
        if rng.random() < 0.3:
            t += 2 + int(rng.random() * 20)
            quantity = b'"%d"' if day.drifting and day.since >= 15 else b"%d"
            props = _named(day, product) + b',"Quantity":' + quantity % (1 + product % 3)
            day.put("Added To Cart", t, props + b',"Price":' + _money(price) + tail, session)
            if rng.random() < 0.15:
                t += 5
                day.put("Removed From Cart", t, b'"Product ID":%d' % product + tail, session)
            else:
                cart.append((product, price))
    if cart and rng.random() < 0.45:
        t = _checkout(day, t, cart, tail, session)
    return t


def _checkout(day: Day, t: int, cart: list[tuple[int, int]], tail: bytes, session: bytes) -> int:
    rng = day.rng
    total = sum(price for _, price in cart)
    t += 10 + int(rng.random() * 60)
    day.put("Checkout Started", t, b'"Cart Value":%a,"Items Count":%d' % (total / 100, len(cart)) + tail, session)
    if rng.random() < 0.2:
        t += 9
        discount = b"5" if rng.random() < 0.5 else b'"5%"'
        day.put("Coupon Applied", t, b'"Code":"SPRING%d","Discount":%b' % (day.since % 9, discount) + tail, session)
    if rng.random() >= 0.6:
        return t
    t += 20 + int(rng.random() * 90)
    # Larger than any exact double, on purpose.
    number = 9007199254740993 + day.day * 1_000_000 + int(rng.random() * 1_000_000)
    items = b",".join(
        b'{"Name":"%b","Quantity":%d,"Price":%b}' % (_good(day, p)[0], 1 + p % 3, _money(c)) for p, c in cart[:5]
    )
    currency = CURRENCIES[day.user % 3]
    props = b'"Amount":%b,"Currency":"%b","Payment mode":"%b","Charged ID":%d,"Items":[%b]' % (
        _money(total), currency, b"card" if day.user % 2 else b"upi", number, items,
    )  # fmt: skip
    if day.drifting and day.since >= 12:
        props += b',"Price Tier":' + (b"%d" % (total // 5000) if day.since < 16 else b'"tier %d"' % (total // 5000))
    day.put("Charged", t, props + tail, session)
    if rng.random() < 0.7:
        day.put(
            "Livraison Prévue",
            t + 2,
            '"Date de livraison":"$D_%d","Point relais":"Café n° %d","Colis":%d'.encode()
            % (day.start + 3 * 86400, day.user % 40, len(cart))
            + tail,
        )
    if rng.random() < 0.02:
        day.put(
            "Refund Issued",
            t + 1800,
            b'"Charged ID":%d,"Amount":%b,"Reason":"changed my mind","CT Source":"API"' % (number, _money(total)),
        )
    return t


def _extras(day: Day, t: int, session: bytes) -> int:
    """Ratings, tickets, clicks and what comes and goes with the days. The second of the last activity."""
    rng = day.rng
    draw = rng.random()
    if draw < 0.03:
        t += 15
        stars = b'"4 of 5"' if day.user % 4 == 0 else b"4.5" if day.user % 4 == 1 else b"%d" % (1 + day.user % 5)
        day.put("Rating Given", t, b'"Stars":%b,"Comment":"",%b' % (stars, day.common), session)
    elif draw < 0.045:
        t += 90
        day.put(
            "Support Ticket Created",
            t,
            b'"Topic":"delivery","Message":"%b","Ticket Number":%d,%b'
            % (LONG_TEXT, 9223372036854775807 - day.user, day.common),
            session,
        )
    elif draw < 0.1:
        campaign = _campaign(day)
        day.put("Notification Viewed", t, campaign + b',"CT Source":"Mobile"')
        day.put(
            "Notification Clicked",
            t + 1,
            campaign
            + b',"wzrk_id":"%d_%d","wzrk_pivot":"wzrk_default","wzrk_dl":"shop://home","CT Source":"Mobile"'
            % (1773470000 + day.since, day.user),
        )
        t += 1
    elif draw < 0.14 and (day.since >= NEW_EVENT_DAY or not day.drifting):
        t += 4
        day.put(NEW_EVENT, t, b'"Recipients":%d,"Channel":"whatsapp",%b' % (1 + day.user % 4, day.common), session)
    elif draw < 0.2 and (day.since < DISCARD_DAY or not day.drifting):
        day.put(DISCARDED_EVENT, t, b'"Banner":"summer",' + day.common, session)
    return t


def _good(day: Day, product: int) -> tuple[bytes, bytes]:
    name, category = GOODS[day.profile][product % 8]
    return name.encode(), category.encode()


def _named(day: Day, product: int) -> bytes:
    return b'"Product ID":%d,"Product":"%b"' % (product, _good(day, product)[0])


def _product(day: Day, product: int, price: int) -> bytes:
    category = _good(day, product)[1]
    props = _named(day, product) + b',"Category":"%b","Price":%b' % (category, _money(price))
    if not day.drifting:
        return props + b',"Tags":"new"'
    props += b',"Tags":["new","%b"]' % category.lower() if day.since >= 17 else b',"Tags":"new"'
    if day.since >= 10:
        props += b',"Badge":"top 10"' if product % 2 else b',"Badge":"\xe2\x98\x85"'
    if day.since < 18:
        props += b',"Legacy Rank":%d' % (product % 50)
    return props


def _money(cents: int) -> bytes:
    """An amount as phones send it: an integer when it is one, else a float."""
    return b"%d" % (cents // 100) if cents % 100 == 0 else b"%a" % (cents / 100)


def _campaign(day: Day) -> bytes:
    return b'"Campaign id":"%d","Campaign type":"push","Campaign name":"Week %d","Variant":"A"' % (
        1773470000 + day.since,
        day.since // 7,
    )
