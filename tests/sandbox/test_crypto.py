"""WeChat's vectors, and some made with their key: what the imitation encrypts and signs is exactly that."""

import base64

import pytest

from wxlogin.sandbox.crypto import encrypt, sign_message, sign_raw_data

SESSION_KEY = "tiihtNczf5v6AKRyjwEUhQ=="
IV = "r7BXXKkLb8qrSNn05n0qiA=="


@pytest.mark.parametrize(
    ("text", "encrypted"),
    [
        pytest.param(
            '{"openId":"oGZUI0egBJY1zhBYw2KhdUfwVJJE","nickName":"Band","gender":1,"language":"zh_CN","'
            'city":"Guangzhou","province":"Guangdong","country":"CN","avatarUrl":"http://wx.qlogo.cn/mm'
            "open/vi_32/aSKcBBPpibyKNicHNTMM0qJVh8Kjgiak2AHWr8MHM4WgMEm7GFhsf8OYrySdbvAMvTsw3mo8ibKicsn"
            'fN5pRjl1p8HQ/0","unionId":"ocMvos6NjeKLIBqg5Mr9QjxrP1FA","watermark":{"timestamp":14773141'
            '87,"appid":"wx4f4bc4dec97d474b"}}',
            "CiyLU1Aw2KjvrjMdj8YKliAjtP4gsMZMQmRzooG2xrDcvSnxIMXFufNstNGTyaGS9uT5geRa0W4oTOb1WT7fJlAC+o"
            "NPdbB+3hVbJSRgv+4lGOETKUQz6OYStslQ142dNCuabNPGBzlooOmB231qMM85d2/fV6ChevvXvQP8Hkue1poOFtnE"
            "tpyxVLW1zAo6/1Xx1COxFvrc2d7UL/lmHInNlxuacJXwu0fjpXfz/YqYzBIBzD6WUfTIF9GRHpOn/Hz7saL8xz+W//"
            "FRAUid1OksQaQx4CMs8LOddcQhULW4ucetDf96JcR3g0gfRK4PC7E/r7Z6xNrXd2UIeorGj5Ef7b1pJAYB6Y5anaHq"
            "Z9J6nKEBvB4DnNLIVWSgARns/8wR2SiRS7MNACwTyrGvt9ts8p12PKFdlqYTopNHR1Vf7XjfhQlVsAJdNiKdYmYVoK"
            "laRv85IfVunYzO0IKXsyl7JCUjCpoG20f0a04COwfneQAGGwd5oa+T8yO5hzuyDb/XcxxmK01EpqOyuxINew==",
            id="official",
        ),
        pytest.param(
            '{"phoneNumber":"13580006666","purePhoneNumber":"13580006666","countryCode":"86","watermark'
            '":{"appid":"wx4f4bc4dec97d474b","timestamp":1477314187}}',
            "xT8p8W6jIVdEWQ+ccHuD2bmG5RSiwg14VWRFw/UGVh6Aj+jDIadafJ4xdCIBQ/uxDiyw/MZWvpFyRn3pP3xxVfNQxF"
            "tzghvK+Pj5JQI7x41EpnirOxeUcm4HWRdmzGJla5bZSoGnOCbsXv5pRwGUkKrjqXN+ahUvXsHu7s3UO17Wm7voWb/t"
            "LcxrZfVTyk0rxntL3Fq2vaQdw+WIdarjGw==",
            id="phone",
        ),
        pytest.param(
            '{"openGId":"tG0000000000000000000000000000","watermark":{"timestamp":1477314187,"appid":"w'
            'x4f4bc4dec97d474b"}}',
            "eBsEnzKu6/nkCnGwRd9Wjrhwh9KZdKh5asKDR50Ggo36NPRLfTMh+ad9HlKpa11SvrjoWcn6j/f8xKBdOOMfACScfR"
            "hAL1ZSnARGWs0NOnLOWrHdGlQcY3kln1BSgitYYcjV5hGDNrbJmFm3U7ZBUQ==",
            id="openGId",
        ),
        pytest.param(
            '{"stepInfoList":[{"timestamp":1477152000,"step":100},{"timestamp":1477238400,"step":200}],'
            '"watermark":{"timestamp":1477314187,"appid":"wx4f4bc4dec97d474b"}}',
            "XoLUxF76jN/OsfTGUqF/ZqRn+2PtO66lAMg/g0D3bg2dhp/ioZmpTE2lnkHEC+murswEagSU94nTku7LRB/p5CpBfo"
            "zJ89g1M4kAQHHlnpEq+hcx5glWgol12SUEsQQXX/RIcdCOhH8whnhz/ANzspJpqLSrjj+8JwIe2IneWWIzRQld3iGf"
            "954EwZoZs/PZYriMFLjbk0YRG/+HefZbQA==",
            id="werun",
        ),
        pytest.param(
            '{"phoneNumber":"13580006666","purePhoneNumber":"13580006666","countryCode":"86","watermark'
            '":{"appid":"wx0000000000000000","timestamp":1477314187}}',
            "xT8p8W6jIVdEWQ+ccHuD2bmG5RSiwg14VWRFw/UGVh6Aj+jDIadafJ4xdCIBQ/uxDiyw/MZWvpFyRn3pP3xxVfNQxF"
            "tzghvK+Pj5JQI7x41EpnirOxeUcm4HWRdmzGJlyOtX+Lw/NpWGxTHNlKEAyn/CH/mD+Z1bpVTpZPolTe0PHU5L4NVe"
            "od/bae2Gj2bish77uDEOlZ3DpKF91iBxZg==",
            id="another appid",
        ),
    ],
)
def test_data_is_encrypted_as_in_the_vectors(text: str, encrypted: str) -> None:
    assert encrypt(text, session_key=SESSION_KEY, iv=base64.b64decode(IV)) == encrypted


def test_raw_data_is_signed_as_in_the_official_vector() -> None:
    raw_data = (
        '{"nickName":"Band","gender":1,"language":"zh_CN","city":"Guangzhou","province":"Guangdong"'
        ',"country":"CN","avatarUrl":"http://wx.qlogo.cn/mmopen/vi_32/1vZvI39NWFQ9XM4LtQpFrQJ1xlgZx'
        'x3w7bQxKARol6503Iuswjjn6nIGBiaycAjAtpujxyzYsrztuuICqIM5ibXQ/0"}'
    )

    signature = sign_raw_data(raw_data, session_key="HyVFkGl5F5OQWJZZaNzBBg==")

    assert signature == "75e81ceda165f4ffa64f4068af58c64b8f54b88c"


@pytest.mark.parametrize(
    ("message", "signature"),
    [
        (b'{"foo":"bar"}', "654571f79995b2ce1e149e53c0a33dc39c0a74090db514261454e8dbe432aa0b"),
        (b"", "46e043c5525c2d817c44be603d30837a808a1d930d038f6fdc3e62a201fed128"),
    ],
)
def test_a_message_is_signed_as_in_the_vectors(message: bytes, signature: str) -> None:
    assert sign_message(message, session_key="o0q0otL8aEzpcZL/FT9WsQ==") == signature
