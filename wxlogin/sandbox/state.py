"""What the imitation knows: apps, users, codes, keys and tokens.

Pure apart from the clock and the random numbers; one lock makes every method atomic, so that of twenty
threads exchanging one code exactly one succeeds.
"""

import base64
import hashlib
import hmac
import secrets
import string
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from threading import Lock
from types import MappingProxyType
from typing import Final

from wxlogin.sandbox.access_tokens import AccessToken, AccessTokens
from wxlogin.sandbox.crypto import sign_message
from wxlogin.sandbox.errcodes import (
    CODE_USED,
    DATA_NOT_FOUND,
    INVALID_APPID,
    INVALID_CODE,
    INVALID_OPENID,
    INVALID_SECRET,
    INVALID_SIG_METHOD,
    INVALID_SIGNATURE,
    QUOTA_NOT_CLEARED,
    ApiError,
)
from wxlogin.sandbox.faults import Faults
from wxlogin.sandbox.journal import Journal
from wxlogin.sandbox.limits import Limits

DEFAULT_APPS: Final[Mapping[str, str]] = MappingProxyType({"wx4f4bc4dec97d474b": "sandbox-secret"})
CODE_LIFETIME_SECONDS: Final = 300
PHONE_CODE_LIFETIME_SECONDS: Final = 300
ENCRYPTED_DATA_KEPT_SECONDS: Final = 3 * 86_400
DEFAULT_PHONE_NUMBER: Final = "13580006666"
ENCRYPT_KEY_LIFETIME_SECONDS: Final = 3600
ENCRYPT_KEYS_LISTED: Final = 3
CODE_ALPHABET: Final = string.ascii_letters + string.digits
MONTH_SECONDS: Final = 30 * 86_400
QUOTA_CLEARED_PER_MONTH: Final = 10


@dataclass(frozen=True, slots=True)
class User:
    """Who somebody is to one app; `session_key` is the one that is live."""

    appid: str
    openid: str
    unionid: str | None
    session_key: str = field(repr=False)
    session_key_issued_at: float


@dataclass(frozen=True, slots=True)
class IssuedCode:
    """What `wx.login()` gave a user."""

    code: str = field(repr=False)
    appid: str
    openid: str
    ends_at: float
    used: bool = False


@dataclass(frozen=True, slots=True)
class IssuedPhoneCode:
    """What the button for a phone number gave a user, or nobody in particular if `openid` is None."""

    code: str = field(repr=False)
    appid: str
    openid: str | None
    phone_number: str = field(repr=False)
    issued_at: float
    used: bool = False


@dataclass(frozen=True, slots=True)
class EncryptKey:
    """What a user's mini-program encrypts its own traffic with."""

    key: str = field(repr=False)
    iv: str = field(repr=False)
    version: int
    created_at: float

    @property
    def ends_at(self) -> float:
        return self.created_at + ENCRYPT_KEY_LIFETIME_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCall:
    """A call about a user, and the proof that the caller has the `session_key`: a signature of `message`.

    https://developers.weixin.qq.com/miniprogram/dev/server/API/user-login/api_checksessionkey.html
    """

    appid: str
    openid: str
    signature: str = field(repr=False)
    sig_method: str
    message: bytes = field(repr=False)


class SandboxState:
    """Keep what WeChat would know, in memory; safe to share between threads.

    `apps` maps appid to secret, the first being the one to use where none is named. A code replaces its
    user's `session_key` unless that is younger than `session_key_min_age` seconds. `clock` gives unix
    seconds.
    """

    def __init__(
        self,
        apps: Mapping[str, str] = DEFAULT_APPS,
        *,
        session_key_min_age: float = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not apps:
            raise ValueError("the sandbox needs at least one app")
        self.apps: Final[Mapping[str, str]] = MappingProxyType(dict(apps))
        self.clock: Final = clock
        self._session_key_min_age = session_key_min_age
        self._lock = Lock()
        self._begin()

    def _begin(self) -> None:
        self.faults = Faults()
        self.limits = Limits()
        self.journal = Journal()
        self._users: dict[tuple[str, str], User] = {}
        self._codes: dict[str, IssuedCode] = {}
        self._phone_codes: dict[str, IssuedPhoneCode] = {}
        self._encrypt_keys: dict[tuple[str, str], list[EncryptKey]] = {}
        self._encrypted_at: dict[tuple[str, str], float] = {}
        self._quota_cleared_at: dict[str, list[float]] = {}
        self._tokens = AccessTokens()

    def authenticate_app(self, appid: str, secret: str) -> None:
        """Raise `ApiError` unless the app is known and the secret its own."""
        if not hmac.compare_digest(secret.encode(), self.apps[self.known_appid(appid)].encode()):
            raise ApiError(INVALID_SECRET)

    def known_appid(self, appid: str | None) -> str:
        """Return an appid that is known, the first one for None, or raise `ApiError`."""
        appid = next(iter(self.apps)) if appid is None else appid
        if appid not in self.apps:
            raise ApiError(INVALID_APPID)
        return appid

    def issue_code(
        self,
        *,
        appid: str | None = None,
        openid: str | None = None,
        unionid: str | None = None,
        lifetime_seconds: float = CODE_LIFETIME_SECONDS,
    ) -> IssuedCode:
        """Do what `wx.login()` does, for a new user if no `openid` is given; the user keeps a `unionid`.

        https://developers.weixin.qq.com/miniprogram/dev/api/open-api/login/wx.login.html
        """
        appid = self.known_appid(appid)
        openid = openid or new_openid()
        with self._lock:
            now = self.clock()
            self._users[appid, openid] = self._logged_in_user(appid, openid, unionid=unionid, now=now)
            issued = IssuedCode(new_code(), appid, openid, now + lifetime_seconds)
            self._codes[issued.code] = issued
        return issued

    def _logged_in_user(self, appid: str, openid: str, *, unionid: str | None, now: float) -> User:
        known = self._users.get((appid, openid))
        if known is None:
            return User(appid, openid, unionid, new_session_key(), now)
        user = replace(known, unionid=unionid or known.unionid)
        if now - known.session_key_issued_at < self._session_key_min_age:
            return user
        return replace(user, session_key=new_session_key(), session_key_issued_at=now)

    def exchange_code(self, code: str, appid: str) -> User:
        """Return whose code it is, or raise `ApiError`; in either case the code is spent.

        Developers report that a failed exchange spends the code too: with another app's appid it gives 40029
        first and 40163 the next time.
        """
        with self._lock:
            issued = self._codes.get(code)
            if issued is None:
                raise ApiError(INVALID_CODE)
            self._codes[code] = replace(issued, used=True)
            self._check_code(issued, appid)
            return self._users[appid, issued.openid]

    def _check_code(self, issued: IssuedCode, appid: str) -> None:
        if issued.used:
            raise ApiError(CODE_USED)
        if self.clock() >= issued.ends_at or issued.appid != appid:
            raise ApiError(INVALID_CODE)

    def find_user_of_code(self, code: str) -> User | None:
        """Return the user that a code of either kind was issued for, or None; the code stays as it is."""
        with self._lock:
            issued = self._codes.get(code) or self._phone_codes.get(code)
            return self._users.get((issued.appid, issued.openid or "")) if issued else None

    def find_user(self, *, appid: str | None = None, openid: str) -> User:
        """Return who `openid` is to the app, or raise `ApiError`."""
        appid = self.known_appid(appid)
        with self._lock:
            return self._known_user(appid, openid)

    def _known_user(self, appid: str, openid: str) -> User:
        user = self._users.get((appid, openid))
        if user is None:
            raise ApiError(INVALID_OPENID)
        return user

    def authenticate_user(self, call: SignedCall) -> None:
        """Raise `ApiError` unless the call is signed with its user's live key."""
        with self._lock:
            self._signer(call)

    def reset_session_key(self, call: SignedCall) -> User:
        """Replace the key that signed the call, or raise `ApiError`; the new one counts as old as that was."""
        with self._lock:
            user = replace(self._signer(call), session_key=new_session_key())
            self._users[user.appid, user.openid] = user
            return user

    def encrypt_keys(self, call: SignedCall) -> list[EncryptKey]:
        """Return the newest keys of the user who signed the call, newest first, or raise `ApiError`.

        With no mini-program to ask for one, it is this that makes a new key where the last has ended.
        """
        with self._lock:
            user = self._signer(call)
            keys = self._encrypt_keys.setdefault((user.appid, user.openid), [])
            now = self.clock()
            if not keys or now >= keys[0].ends_at:
                version = keys[0].version + 1 if keys else 1
                keys.insert(0, EncryptKey(new_session_key(), secrets.token_hex(8), version, now))
            del keys[ENCRYPT_KEYS_LISTED:]
            return list(keys)

    def _signer(self, call: SignedCall) -> User:
        user = self._known_user(call.appid, call.openid)
        if call.sig_method != "hmac_sha256":
            raise ApiError(INVALID_SIG_METHOD)
        signature = sign_message(call.message, session_key=user.session_key)
        if not hmac.compare_digest(call.signature.lower().encode(), signature.encode()):
            raise ApiError(INVALID_SIGNATURE)
        return user

    def issue_phone_code(
        self, *, appid: str | None = None, openid: str | None = None, phone_number: str | None = None
    ) -> IssuedPhoneCode:
        """Do what the button for a phone number does.

        https://developers.weixin.qq.com/miniprogram/dev/framework/open-ability/getPhoneNumber.html
        """
        appid = self.known_appid(appid)
        phone_number = phone_number or DEFAULT_PHONE_NUMBER
        with self._lock:
            issued = IssuedPhoneCode(secrets.token_hex(32), appid, openid, phone_number, self.clock())
            self._phone_codes[issued.code] = issued
        return issued

    def exchange_phone_code(self, code: str, appid: str, *, openid: str | None = None) -> IssuedPhoneCode:
        """Return what the code stands for, or raise `ApiError`; in either case the code is spent."""
        with self._lock:
            issued = self._phone_codes.get(code)
            if issued is None:
                raise ApiError(INVALID_CODE)
            self._phone_codes[code] = replace(issued, used=True)
            self._check_phone_code(issued, appid, openid=openid)
            return issued

    def _check_phone_code(self, issued: IssuedPhoneCode, appid: str, *, openid: str | None) -> None:
        expired = self.clock() - issued.issued_at >= PHONE_CODE_LIFETIME_SECONDS
        if issued.used or expired:
            raise ApiError(INVALID_CODE)
        if issued.appid != appid:
            raise ApiError(INVALID_APPID)
        if openid and issued.openid and issued.openid != openid:
            raise ApiError(INVALID_CODE)

    def fetch_token(self, appid: str) -> AccessToken:
        """Return a new access_token, which takes the place of the one before."""
        with self._lock:
            return self._tokens.fetch(appid, now=self.clock())

    def note_encrypted(self, encrypted_data: str, appid: str) -> None:
        """Remember for three days that the app got this text, and when."""
        digest = hashlib.sha256(encrypted_data.encode()).hexdigest()
        with self._lock:
            self._encrypted_at[digest, appid] = self.clock()

    def encrypted_at(self, digest: str, appid: str) -> float:
        """Return when the app got the text of this SHA-256, or raise `ApiError`."""
        with self._lock:
            encrypted_at = self._encrypted_at.get((digest, appid))
        if encrypted_at is None or self.clock() - encrypted_at >= ENCRYPTED_DATA_KEPT_SECONDS:
            raise ApiError(DATA_NOT_FOUND)
        return encrypted_at

    def fetch_stable_token(self, appid: str, *, force_refresh: bool = False) -> AccessToken:
        """Return the app's stable access_token, which `fetch_token` leaves alone."""
        with self._lock:
            return self._tokens.fetch_stable(appid, force_refresh=force_refresh, now=self.clock())

    def appid_of_token(self, access_token: str) -> str:
        """Return the app that may call with this token, or raise `ApiError`."""
        with self._lock:
            return self._tokens.appid_of(access_token, now=self.clock())

    def owner_of_token(self, access_token: str) -> str:
        """Return the app that may call, or might once, with this token; nothing if there is none."""
        with self._lock:
            return self._tokens.owner_of(access_token)

    def end_tokens(self, *, appid: str | None = None, ended_as: int) -> int:
        """End an app's access_tokens, so that calls with them get the errcode `ended_as`; return their number."""
        appid = self.known_appid(appid)
        with self._lock:
            return self._tokens.end(appid, ended_as=ended_as, now=self.clock())

    def clear_quota(self, appid: str) -> None:
        """Forget how often an app has called, or raise `ApiError`: ten times in 30 days."""
        with self._lock:
            now = self.clock()
            cleared_at = [at for at in self._quota_cleared_at.get(appid, []) if now - at < MONTH_SECONDS]
            if len(cleared_at) >= QUOTA_CLEARED_PER_MONTH:
                raise ApiError(QUOTA_NOT_CLEARED)
            self._quota_cleared_at[appid] = [*cleared_at, now]
        self.limits.clear(appid)

    def forget_everything(self) -> None:
        """Forget all but the apps."""
        with self._lock:
            self._begin()


def new_code() -> str:
    return "".join(secrets.choice(CODE_ALPHABET) for _ in range(32))


def new_openid() -> str:
    """Return 28 URL-safe characters; 20 random bytes make 27 of them."""
    return "o" + secrets.token_urlsafe(20)


def new_session_key() -> str:
    return base64.b64encode(secrets.token_bytes(16)).decode()
