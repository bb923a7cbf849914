"""libcurl.py URL COUNT CA: one handle of libcurl, which python3-pycurl links with GnuTLS."""

import sys

import pycurl

assert "GnuTLS" in pycurl.version, pycurl.version
url, count, authority = sys.argv[1:]
handle = pycurl.Curl()
handle.setopt(pycurl.URL, url)
handle.setopt(pycurl.CAINFO, authority)
handle.setopt(pycurl.FAILONERROR, True)
handle.setopt(pycurl.WRITEFUNCTION, lambda data: None)
for _ in range(int(count)):
    handle.perform()
