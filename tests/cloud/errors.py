"""Refusals as AWS words them: a code, a message and an HTTP status, told in the form of each protocol.

The EC2 codes and their statuses are those of "Error codes for the Amazon EC2 API" (EC2 API reference); those of the EBS direct APIs are
in its API reference and in botocore's model (httpStatusCode, Reason).
"""
import json
from xml.sax.saxutils import escape

EC2_STATUS = {"AuthFailure": 401, "OptInRequired": 403, "UnauthorizedOperation": 403, "SignatureDoesNotMatch": 403, "DryRunOperation": 412,
              "InternalError": 500, "InsufficientInstanceCapacity": 500, "InsufficientCapacity": 500, "RequestLimitExceeded": 503, "Unavailable": 503}


class Refusal(Exception):
    """A request that is answered with an error. violation: true when no client should ever send such a request (unknown names, wrong
    types, a bad signature), as opposed to one that the state of things forbids."""

    def __init__(self, code, message, status=None, reason=None, violation=False):
        super().__init__(message)
        self.code, self.message, self.reason, self.violation = code, message, reason, violation
        self.status = status or EC2_STATUS.get(code, 400)


class HangUp(Exception):
    """The connection is to be cut instead of an answer."""


def unknown_ids(kind, ids):
    """InvalidAMIID.NotFound and its kin, worded as EC2 does."""
    one = len(ids) == 1
    names = {"image": ("InvalidAMIID", "image id"), "snapshot": ("InvalidSnapshot", "snapshot"), "instance": ("InvalidInstanceID", "instance ID"),
             "volume": ("InvalidVolume", "volume")}
    prefix, noun = names[kind]
    listed = ", ".join(ids)
    if kind == "image":
        message = f"The image id '[{listed}]' does not exist" if one else f"The image ids '[{listed}]' do not exist"
    else:
        message = f"The {noun} '{listed}' does not exist." if one else f"The {noun}s '{listed}' do not exist"
    return Refusal(f"{prefix}.NotFound", message)


def encode(refusal, protocol, request_id):
    """The answer's headers and body."""
    code, message = escape(refusal.code), escape(refusal.message)
    if protocol == "ec2":
        body = (f'<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>'
                f"<RequestID>{request_id}</RequestID></Response>")
        return {"Content-Type": "text/xml;charset=UTF-8"}, body.encode()
    if protocol == "query":
        kind = "Receiver" if refusal.status >= 500 else "Sender"
        body = (f"<ErrorResponse><Error><Type>{kind}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
                f"<RequestId>{request_id}</RequestId></ErrorResponse>")
        return {"Content-Type": "text/xml"}, body.encode()
    if protocol == "rest-xml":
        body = (f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message><RequestId>{request_id}</RequestId></Error>')
        return {"Content-Type": "application/xml"}, body.encode()
    if protocol == "json":
        return {"Content-Type": "application/x-amz-json-1.1"}, json.dumps({"__type": refusal.code, "message": refusal.message}).encode()
    fields = {"Message": refusal.message}
    if refusal.reason:
        fields["Reason"] = refusal.reason
    return {"Content-Type": "application/json", "x-amzn-ErrorType": refusal.code}, json.dumps(fields).encode()
