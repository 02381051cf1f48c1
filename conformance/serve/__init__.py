"""`callproof serve`: all vendors on loopback, a control API, and a page over it.

`bench` puts vendors and people together; `people` has the person at the phone and `tape` what is heard there;
`recording` keeps the wire and its ladder; `faults` what a vendor can be made to do; `routes` is the one table that the
API and its OpenAPI document are made of; `calls_api`, `wire_api` and `settings_api` answer; `live` pushes what changes.
"""
