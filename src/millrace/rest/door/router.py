"""All routes at the door, under the prefix of the API of Millrace itself."""

from __future__ import annotations

from fastapi import APIRouter

from millrace.rest.door import links, own, signing_in
from millrace.rest.millrace.router import PREFIX

router = APIRouter(prefix=PREFIX)
router.include_router(signing_in.router)
router.include_router(links.router)
router.include_router(own.enrolling)
router.include_router(own.router)
