"""What a request may be answered with: no 5xx but 503, and that says when to ask again. Loaded by schemathesis."""

import schemathesis


@schemathesis.check
def faults_say_when_to_ask_again(ctx, response, case):
    if response.status_code < 500:
        return
    headers = {name.lower(): value for name, value in response.headers.items()}
    assert response.status_code == 503, f"{response.status_code} is no answer of this program"
    assert headers["retry-after"][0].isdigit(), "a 503 without a time to ask again"
