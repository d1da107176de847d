"""Words of the audit log."""

from __future__ import annotations

from django import template

from webapp.accounts import audit, queries
from webapp.accounts.models import AuditEvent

register = template.Library()


@register.filter
def audit_words(event: AuditEvent) -> str:
    return audit.KINDS.get(event.kind, event.kind)


@register.filter
def audit_detail(event: AuditEvent) -> str:
    return queries.audit_detail(event)
