"""The console: pages for people, on the same credentials and the same policy path as the API. See docs/console.md.

It is an application of its own in the same process, so that nothing of it (cookies, HTML errors, redirects) can ever
be part of an answer of the API, nor the other way round. What it shows comes from the same visit as the API's answers.
"""
