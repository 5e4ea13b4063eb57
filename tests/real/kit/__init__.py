"""What the scenarios of the real tier share: certificates, processes, parts, and the gateway in front of them."""
