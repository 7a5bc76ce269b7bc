"""Signature Version 4 of each request, checked by botocore's own signer with the secret that belongs to the key in it.

Known keys are those of the fake's accounts and what STS and IAM handed out since. What must be signed: host, the date and every
x-amz-* header; the body's digest must be the body's. Refusals carry each service family's own code ("Troubleshooting Signature
Version 4", IAM user guide; EC2's error codes; S3's error responses).
"""
import calendar
import hashlib
import hmac
import time
import types
import urllib.parse

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.credentials import Credentials

from errors import Refusal

EMPTY = hashlib.sha256(b"").hexdigest()
UNSIGNED = {"UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"}


class Key:
    def __init__(self, key_id, secret, account, partition, token=None, expires=None, arn=None):
        self.id, self.secret, self.account, self.partition = key_id, secret, account, partition
        self.token, self.expires, self.arn = token, expires, arn


class Headers:
    """The signed headers in the form in which botocore's signer walks them."""

    def __init__(self, values):
        self.values = values

    def __iter__(self):
        return iter(self.values)

    def keys(self):
        return self.values.keys()

    def get_all(self, name):
        return [self.values[name.lower()]]


def signer(base):
    class Signer(base):
        def headers_to_sign(self, request):
            return request.signed

        def payload(self, request):
            return request.payload_digest
    return Signer


GENERAL, S3 = signer(SigV4Auth), signer(S3SigV4Auth)


def code(service, kind):
    """A family's word for a fault."""
    ec2 = {"missing": "AuthFailure", "unknown": "AuthFailure", "wrong": "SignatureDoesNotMatch", "skew": "RequestExpired", "expired": "RequestExpired"}
    s3 = {"missing": "AccessDenied", "unknown": "InvalidAccessKeyId", "wrong": "SignatureDoesNotMatch", "skew": "RequestTimeTooSkewed", "expired": "ExpiredToken"}
    query = {"missing": "MissingAuthenticationToken", "unknown": "InvalidClientTokenId", "wrong": "SignatureDoesNotMatch", "skew": "SignatureDoesNotMatch",
             "expired": "ExpiredToken"}
    rest = {"missing": "MissingAuthenticationTokenException", "unknown": "UnrecognizedClientException", "wrong": "InvalidSignatureException",
            "skew": "InvalidSignatureException", "expired": "ExpiredTokenException"}
    return {"ec2": ec2, "s3": s3, "iam": query, "sts": query}.get(service, rest)[kind]


def refuse(service, kind, message, violation=True):
    status = 400 if kind in ("expired", "missing") and service != "ec2" else 401 if code(service, kind) == "AuthFailure" else 403
    if code(service, kind) == "RequestExpired":
        status = 400
    raise Refusal(code(service, kind), message, status, violation=violation)


class Keyring:
    """The keys that are known, and the check of a request against them. now(): the service's clock, seconds."""

    def __init__(self, now):
        self.keys = {}
        self.now = now

    def add(self, key):
        self.keys[key.id] = key

    def check(self, request):
        """The Key that signed the request; raises Refusal. Sets request.service and request.region as the credential's scope says."""
        header = request.headers.get("authorization", "")
        if not header.startswith("AWS4-HMAC-SHA256 "):
            if "X-Amz-Signature=" in request.query:
                return self.check_presigned(request)
            refuse(request.service or "ec2", "missing", "AWS was not able to validate the provided access credentials")
        fields = dict(part.strip().partition("=")[::2] for part in header[17:].split(","))
        try:
            key_id, day, request.region, request.service, end = fields["Credential"].split("/")
            signed_names, signature = fields["SignedHeaders"].split(";"), fields["Signature"]
            if end != "aws4_request":
                raise ValueError
        except (KeyError, ValueError):
            refuse("ec2", "wrong", f"not a Signature Version 4 header: '{header}'")
        key = self.key(request, key_id, request.headers.get("x-amz-security-token"))
        stamp = request.headers.get("x-amz-date", "")
        self.check_time(request.service, stamp, day)
        for name in request.headers:
            if (name == "host" or name.startswith("x-amz-")) and name not in signed_names:
                refuse(request.service, "wrong", f"'{name}' must be a 'SignedHeader' in the AWS Authorization.")
        missing = [name for name in signed_names if name not in request.headers]
        if missing or signed_names != sorted(signed_names):
            refuse(request.service, "wrong", f"signed headers that are not there, or not sorted: {missing or signed_names}")
        digest = self.payload_digest(request)
        expected = self.signature(request, key, stamp, {name: request.headers[name] for name in signed_names}, digest, request.query)
        if not hmac.compare_digest(expected, signature):
            refuse(request.service, "wrong", "The request signature we calculated does not match the signature you provided. "
                   "Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
        return key

    def key(self, request, key_id, token):
        key = self.keys.get(key_id)
        if key is None or (key.token or None) != token:
            # A user's wrong key is no fault of the client's.
            refuse(request.service, "unknown", "AWS was not able to validate the provided access credentials", violation=False)
        if key.expires is not None and key.expires <= self.now():
            refuse(request.service, "expired", "The security token included in the request is expired", violation=False)
        return key

    def check_time(self, service, stamp, day):
        try:
            sent = calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))
        except ValueError:
            refuse(service, "wrong", f"no X-Amz-Date: '{stamp}'")
        if stamp[:8] != day:
            refuse(service, "wrong", "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP")
        now = self.now()
        if abs(now - sent) > (900 if service == "s3" else 300):
            said = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
            message = {"ec2": "Request has expired.", "s3": "The difference between the request time and the current time is too large."}.get(
                service, f"Signature {'expired' if sent < now else 'not yet current'}: {stamp} is {'now earlier' if sent < now else 'still later'} than {said}")
            refuse(service, "skew", message, violation=False)

    @staticmethod
    def payload_digest(request):
        claimed = request.headers.get("x-amz-content-sha256")
        if claimed in UNSIGNED:
            return claimed
        actual = request.digest()
        if claimed is not None and claimed != actual:
            raise Refusal("XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.", 400, violation=True)
        return actual

    @staticmethod
    def signature(request, key, stamp, signed, digest, query):
        auth = (S3 if request.service == "s3" else GENERAL)(Credentials(key.id, key.secret, key.token), request.service, request.region)
        shown = types.SimpleNamespace(method=request.method, url=f"http://{request.headers.get('host', '')}{request.path}{'?' + query if query else ''}",
                                      params={}, headers={}, signed=Headers(signed), payload_digest=digest, context={"timestamp": stamp})
        return auth.signature(auth.string_to_sign(shown, auth.canonical_request(shown)), shown)

    def check_presigned(self, request):
        """A signature in the query (S3's presigned addresses)."""
        pairs = urllib.parse.parse_qsl(request.query, keep_blank_values=True)
        fields = dict(pairs)
        try:
            key_id, day, request.region, request.service, _ = fields["X-Amz-Credential"].split("/")
            signed_names, signature, stamp, lasts = fields["X-Amz-SignedHeaders"].split(";"), fields["X-Amz-Signature"], fields["X-Amz-Date"], int(fields["X-Amz-Expires"])
        except (KeyError, ValueError):
            refuse("s3", "missing", "Query-string authentication requires X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires.")
        key = self.key(request, key_id, fields.get("X-Amz-Security-Token"))
        if calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ")) + lasts < self.now():
            raise Refusal("AccessDenied", "Request has expired", 403)
        query = "&".join(part for part in request.query.split("&") if not part.startswith("X-Amz-Signature="))
        expected = self.signature(request, key, stamp, {name: request.headers[name] for name in signed_names}, "UNSIGNED-PAYLOAD", query)
        if not hmac.compare_digest(expected, signature):
            refuse("s3", "wrong", "The request signature we calculated does not match the signature you provided.")
        request.query = "&".join(part for part in query.split("&") if not part.startswith("X-Amz-"))
        return key
