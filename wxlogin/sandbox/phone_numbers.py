"""Phone numbers as WeChat gives them."""

import re
from typing import Final

# All country codes have three digits, but for these: https://www.itu.int/pub/T-SP-E.164D
SHORT_COUNTRY_CODES: Final = re.compile("1|7|20|27|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]")
HOME: Final = "86"


def split_phone_number(phone_number: str) -> dict[str, str]:
    """Return a number whole, without its country code, and that code; one without a `+` is at home in China.

    A number of China has no code even as a whole.
    """
    if not phone_number.startswith("+"):
        return numbers(phone_number, phone_number, HOME)
    digits = phone_number[1:]
    short = SHORT_COUNTRY_CODES.match(digits)
    code = short[0] if short else digits[:3]
    pure = digits[len(code) :].lstrip("-")
    return numbers(pure if code == HOME else phone_number, pure, code)


def numbers(whole: str, pure: str, code: str) -> dict[str, str]:
    return {"phoneNumber": whole, "purePhoneNumber": pure, "countryCode": code}
