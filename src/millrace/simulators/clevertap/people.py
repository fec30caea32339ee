"""The users and devices of a generated account, all drawn from the seed; nobody here exists."""

from __future__ import annotations

import hashlib
import zlib
from array import array
from typing import Any, Literal

from millrace.data.dataclass import dataclass
from millrace.simulators.clevertap.chance import fraction, key, mix

FIRST = ("Rhea", "Jonas", "Mira", "Aarav", "Léa", "Søren", "Ines", "Tomás", "Yuki", "Zoë", "Amara", "Łukasz")
LAST = ("Example", "Beispiel", "Muster", "Exemple", "Ejemplo", "Esempio", "Örnek", "Przykład")
ANDROID = (("Samsung", "SM-S911B"), ("Xiaomi", "2201117TG"), ("Google", "Pixel 8"), ("OnePlus", "CPH2449"))
PLANS = ("free", "silver", "gold", "platinum")
AREA_CODES = (202, 303, 404, 512, 617, 702, 808, 919)
PREFIX = {"Android": "__", "iOS": "-", "Web": "", "Windows": "~"}

Platform = Literal["Android", "iOS", "Web"]


@dataclass(frozen=True, slots=True)
class Device:
    number: int
    user: int
    object_id: str
    platform: Platform


def shard_of(object_id: str, shards: int) -> int:
    return zlib.crc32(object_id.encode()) % shards


class People:
    """Users 0 to ``users`` - 1 and their devices, numbered from 0; ``by_shard`` lists device numbers.

    ``first_day`` is the ordinal of the first generated local day. Everything but the two lists is computed when asked.
    """

    def __init__(self, *, seed: int, account: str, users: int, days: int, first_day: int, shards: int) -> None:
        self._key = key(seed, account, "people")
        self._days = max(days, 1)
        self._first_day = first_day
        self.users = users
        self._user_of: array[int] = array("I")
        self._second: bytearray = bytearray()
        self.by_shard: list[array[int]] = [array("I") for _ in range(shards)]
        self._numbers: dict[str, int] | None = None
        # Days on which a user surely comes: who logs in or is demerged opens the app to do so.
        self.appointments: dict[int, set[int]] = {}
        for user in range(users):
            self._add(user, 0, shards)
            # A fifth of all users have two devices; they are known by name, so the share is taken of those.
            if not self.is_anonymous(user) and self._draw(user, 2) < 0.2 / 0.75:
                self._add(user, 1, shards)
            for day in (self.login_day(user), self.demerge_day(user)):
                if day is not None:
                    self.appointments.setdefault(day, set()).add(user)

    def __len__(self) -> int:
        return len(self._user_of)

    def _add(self, user: int, second: int, shards: int) -> None:
        number = len(self._user_of)
        self._user_of.append(user)
        self._second.append(second)
        self.by_shard[shard_of(self.object_id(number), shards)].append(number)

    def _draw(self, user: int, what: int) -> float:
        return fraction(self._key ^ (user * 64 + what))

    def user_of(self, device: int) -> int:
        return self._user_of[device]

    def is_anonymous(self, user: int) -> bool:
        return self._draw(user, 1) < 0.25

    def login_day(self, user: int) -> int | None:
        """The local day on which a user who is known now was seen as anonymous until then; None for most."""
        if self.is_anonymous(user) or self._draw(user, 3) >= 0.03 / 0.75:
            return None
        return max(self.install_day(user), self._first_day + int(self._draw(user, 4) * self._days))

    def demerge_day(self, user: int) -> int | None:
        if self.is_anonymous(user) or self._draw(user, 5) >= 0.01 / 0.75:
            return None
        return max(self.install_day(user), self._first_day + int(self._draw(user, 6) * self._days))

    def install_day(self, user: int) -> int:
        """A fifth of the users come within the generated days, the rest were there before."""
        return self._first_day + int((self._draw(user, 7) * 5 - 4) * self._days)

    def activity(self, user: int) -> float:
        """Sessions of this user against the mean: a few use the product much, many a little. The mean is 1."""
        return 3 * self._draw(user, 8) ** 2

    def platform(self, device: int) -> Platform:
        user, second = self._user_of[device], self._second[device]
        draw = self._draw(user, 9 + second)
        return "Android" if draw < 0.6 else "iOS" if draw < 0.85 else "Web"

    def object_id(self, device: int) -> str:
        user, second = self._user_of[device], self._second[device]
        digest = hashlib.blake2b(f"{self._key}:{user}:{second}".encode(), digest_size=16).hexdigest()
        return PREFIX[self.platform(device)] + digest

    def device(self, number: int) -> Device:
        return Device(number, self._user_of[number], self.object_id(number), self.platform(number))

    def number(self, object_id: str) -> int | None:
        """The device with this id."""
        if self._numbers is None:
            self._numbers = {self.object_id(device): device for device in range(len(self))}
        return self._numbers.get(object_id)

    def devices_of(self, user: int) -> list[int]:
        """Device numbers of a user: one or two, next to each other."""
        low, high = 0, len(self._user_of)
        while low < high:
            middle = (low + high) // 2
            if self._user_of[middle] < user:
                low = middle + 1
            else:
                high = middle
        return [n for n in (low, low + 1) if n < len(self._user_of) and self._user_of[n] == user]

    def identity(self, user: int, day: int) -> str | None:
        """The identity that a read on ``day`` shows."""
        login = self.login_day(user)
        if self.is_anonymous(user) or (login is not None and day < login):
            return None
        demerge = self.demerge_day(user)
        return f"cust-{80000 + user}{'-b' if demerge is not None and day >= demerge else ''}"

    def user_of_identity(self, identity: str) -> int | None:
        text = identity.removeprefix("cust-").removesuffix("-b")
        user = int(text) - 80000 if identity.startswith("cust-") and text.isdigit() else -1
        return user if 0 <= user < self.users and not self.is_anonymous(user) else None

    def user_of_email(self, email: str) -> int | None:
        text = email.partition("@")[0].rpartition(".")[2]
        user = int(text) if text.isdigit() else -1
        return user if 0 <= user < self.users and self._email(user) == email else None

    def _name(self, user: int) -> str:
        return f"{FIRST[mix(self._key ^ user) % len(FIRST)]} {LAST[mix(self._key + user) % len(LAST)]}"

    def _email(self, user: int) -> str:
        return f"user.{user}@example.org"

    def fields(self, device: int, day: int) -> dict[str, Any]:
        """What a profile holds of a device, without the parts that a request may leave out. ``day`` is local."""
        user = self._user_of[device]
        platform = self.platform(device)
        found: dict[str, Any] = {"objectId": self.object_id(device), "platform": platform}
        identity = self.identity(user, day)
        if identity is not None:
            found["identity"] = identity
            found["all_identities"] = [identity, self._email(user)]
            found["name"] = self._name(user)
            if self._draw(user, 12) < 0.9:
                found["email"] = self._email(user)
            if self._draw(user, 13) < 0.7:
                found["phone"] = _phone(user, british=self._draw(user, 14) < 0.5)
        if platform != "Web" and self._draw(user, 15) < 0.8:
            found["push_token"] = f"fcm:sim{found['objectId'][-12:]}:APA91bExample"
        found["df"] = {"0": 60 + user % 20, "1": 120 + user % 40, "2": 320 + 20 * (user % 12)}
        if self._draw(user, 16) < 0.02:
            found["badKs"] = [f"FB:{1000000000000000 + user}"]
        return found

    def app_fields(self, device: int, version: str) -> dict[str, str]:
        user, platform = self._user_of[device], self.platform(device)
        if platform == "Web":
            return {"os_version": "", "app_version": "", "make": "Chrome", "model": "Web"}
        if platform == "iOS":
            return {"os_version": "17.4", "app_version": version, "make": "Apple", "model": "iPhone15,2"}
        make, model = ANDROID[user % len(ANDROID)]
        return {"os_version": str(12 + user % 4), "app_version": version, "make": make, "model": model}

    def custom(self, device: int, day: int) -> dict[str, Any]:
        """`profileData` as a read on ``day`` shows it; some of it moves with the days."""
        user = self._user_of[device]
        if self._draw(user, 17) < 0.15:
            return {}
        since = day - self._first_day
        points = int(self._draw(user, 18) * 500) + 5 * max(0, since) * (user % 3)
        data: dict[str, Any] = {"plan": PLANS[(user + max(0, since) // 10) % len(PLANS)], "loyalty_points": points}
        if user % 2:
            data["renews_on"] = f"$D_{1767225600 + user % 365 * 86400}"
        if user % 3 == 0:
            data["tags"] = ["a", "b", "früh"][: 1 + user % 3]
        if user % 5 == 0:
            data["Score"] = user / 8 if user % 2 else str(user)
        if user % 7 == 0:
            data["legacy_id"] = 9007199254740993 + user
            data["opted_in"] = user % 2 == 0
        return data

    def summary(self, device: int, day: int, names: tuple[str, ...]) -> dict[str, dict[str, int]]:
        """The lifetime summary per event name, as of ``day``: plausible and growing, not recounted from the rows."""
        user = self._user_of[device]
        start = (self.install_day(user) - 719163) * 86400
        age = max(1, day - self.install_day(user))
        found: dict[str, dict[str, int]] = {}
        for position, name in enumerate(names):
            if mix(self._key ^ (user * 1009 + position)) % 3:
                count = 1 + age * (1 + position % 4) // 4
                found[name] = {"count": count, "first_seen": start + position, "last_seen": start + age * 86400}
        return found


def _phone(user: int, *, british: bool) -> int:
    """A number from a range that regulators keep for fiction.

    Sources: North American 555-0100 to 555-0199; Ofcom's drama range 07700 900000 to 900999.
    """
    if british:
        return 447700900000 + user % 1000
    return 10000000000 + AREA_CODES[user % len(AREA_CODES)] * 10000000 + 5550100 + user % 100
