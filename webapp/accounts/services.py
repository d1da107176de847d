"""What changes people, projects and roles."""

from __future__ import annotations

from collections.abc import Callable, Collection

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.text import slugify

from vad.errors import ConfigError, VadError
from webapp.accounts import audit, guard, passwords
from webapp.accounts.models import BrowserSession, Invitation, Membership, Project, Role, User
from webapp.accounts.permissions import require_admin

# --- projects -------------------------------------------------------------------------------


@transaction.atomic
def project_create(*, name: str, by: User) -> Project:
    """A project whose first admin is the person who made it.

    Raises:
        ConfigError: the name is empty, too long, or taken.
    """
    base = slugify(name)[:70] or "project"
    slug, n = base, 1
    while Project.objects.filter(slug=slug).exists():
        n += 1
        slug = f"{base}-{n}"
    project = Project(name=" ".join(name.split()), slug=slug)
    _checked(project)
    project.save()
    Membership.objects.create(project=project, user=by, role=Role.ADMIN)
    audit.record("project-created", by=by, project=project, subject=project.name)
    return project


@transaction.atomic
def project_rename(*, project: Project, name: str, by: User) -> Project:
    """Another name; the address keeps the old one, so links go on working.

    Raises:
        ConfigError: the name is empty, too long, or taken.
    """
    require_admin(by, project)
    before = project.name
    project.name = " ".join(name.split())
    _checked(project)
    if project.name != before:
        project.save(update_fields=["name"])
        audit.record("project-renamed", by=by, project=project, subject=project.name, was=before)
    return project


def _checked(project: Project) -> None:
    try:
        project.full_clean()
    except ValidationError as exc:
        problems = " ".join(exc.message_dict.get("name") or exc.messages)
        raise ConfigError({"name": problems}, what="The project") from None


# --- members --------------------------------------------------------------------------------


@transaction.atomic
def member_set_role(*, project: Project, user: User, role: str, by: User) -> Membership:
    """Give a member another role.

    Raises:
        VadError: `not-allowed`, or `last-admin` if nobody would be left to decide.
    """
    require_admin(by, project)
    if role not in Role.values:
        known = ", ".join(Role.values)
        raise ConfigError({"role": f"{role[:40]!r} is none of {known}"}, what="The member")
    membership = _membership(project, user, leaves_admins=role == Role.ADMIN)
    if membership.role != role:
        was, membership.role = membership.role, role
        membership.save(update_fields=["role"])
        if was == Role.ADMIN:
            _take_back_links(project, user)
        audit.record(
            "role-changed", by=by, project=project, subject=user.username, was=was, now=role
        )
    return membership


@transaction.atomic
def member_remove(*, project: Project, user: User, by: User) -> None:
    """Take a member out of the project; what they made stays.

    Raises:
        VadError: `not-allowed`, or `last-admin`.
    """
    require_admin(by, project)
    membership = _membership(project, user, leaves_admins=False)
    membership.delete()
    _take_back_links(project, user)
    kind = "member-left" if user == by else "member-removed"
    audit.record(kind, by=by, project=project, subject=user.username, role=membership.role)


@transaction.atomic
def project_leave(*, project: Project, by: User) -> None:
    """Leave a project; nobody needs to be asked, but one admin must stay.

    Raises:
        VadError: `last-admin`.
    """
    membership = _membership(project, by, leaves_admins=False)
    membership.delete()
    _take_back_links(project, by)
    audit.record("member-left", by=by, project=project, subject=by.username, role=membership.role)


def _take_back_links(project: Project, user: User) -> None:
    """Invitations of who is no admin any more: else they could let themselves in again."""
    mine = Invitation.objects.filter(project=project, created_by=user, revoked_at=None)
    mine.update(revoked_at=timezone.now())


def _membership(project: Project, user: User, *, leaves_admins: bool) -> Membership:
    """The membership, locked with the project, so that two admins cannot both be the last to go."""
    Project.objects.select_for_update().get(pk=project.pk)
    membership = Membership.objects.filter(project=project, user=user).first()
    if membership is None:
        raise VadError(
            "not-found",
            f"{user} is no member of {project}.",
            "Reload the page; someone was faster.",
        )
    others = Membership.objects.filter(
        project=project, role=Role.ADMIN, user__is_active=True
    ).exclude(user=user)
    if membership.role == Role.ADMIN and not leaves_admins and not others.exists():
        raise VadError(
            "last-admin",
            f"{user} is the last admin of {project}.",
            "Make another member an admin first.",
        )
    return membership


# --- people ---------------------------------------------------------------------------------


def user_create(*, username: str, password: str) -> User:
    """A person by the rules for names and passwords, for callers that hold a transaction.

    Raises:
        ConfigError: with the field that is wrong.
    """
    user = User(username=User.normalize_username(username.strip()))
    wrong: dict[str, str] = {}
    if User.objects.filter(username__iexact=user.username).exists():
        wrong["username"] = "This name is taken."  # also in other capitals: it would deceive
    try:
        user.full_clean(exclude=["password"], validate_unique=False)
    except ValidationError as exc:
        wrong |= {name: " ".join(texts) for name, texts in exc.message_dict.items()}
    try:
        validate_password(password, user)
    except ValidationError as exc:
        wrong["password"] = " ".join(exc.messages)
    if wrong:
        raise ConfigError(wrong, what="The account")
    user.set_password(password)
    try:
        with transaction.atomic():
            user.save()
    except IntegrityError:  # somebody took the name since it was looked up
        raise ConfigError({"username": "This name is taken."}, what="The account") from None
    return user


def password_change(*, user: User, old: str, new: str, keep: str | None) -> None:
    """Another password; all other sessions of the person end.

    Trying old passwords is locked like signing in, or an open browser would be a way around it.

    Args:
        keep: key of the session that goes on.

    Raises:
        ConfigError: with the field that is wrong.
        VadError: `too-many-tries`.
    """
    _require_password(user, old, field="old")
    try:
        validate_password(new, user)
    except ValidationError as exc:
        raise ConfigError({"new": " ".join(exc.messages)}, what="The form") from None
    with transaction.atomic():
        user.set_password(new)
        user.save(update_fields=["password"])
        ended, _ = user.sessions.exclude(pk=keep).delete()
        passwords.links_end(user, timezone.now())
        audit.record("password-changed", by=user, subject=user.username, sessions_ended=ended)


def recovery_mail_set(*, user: User, address: str, password: str, known: Collection[str]) -> None:
    """Where links to a new password go when the person asks for one; "": nowhere.

    Args:
        password: the person's own, or whoever finds a browser open could take the account over.
        known: addresses at which the person has shown that they read mail.

    Raises:
        ConfigError: with the field that is wrong.
        VadError: `too-many-tries`.
    """
    if address and address not in known:
        raise ConfigError({"address": "You have not confirmed this address."}, what="The form")
    _require_password(user, password, field="password")
    if user.email != address:
        with transaction.atomic():
            user.email = address
            user.save(update_fields=["email"])
            audit.record("recovery-mail-changed", by=user, subject=user.username)


def _require_password(user: User, password: str, *, field: str) -> None:
    """Locked like signing in. Raises ConfigError naming the field, or `too-many-tries`."""
    tried = guard.begin(username=user.username, address=audit.address())
    if not user.check_password(password):
        audit.record("sign-in-failed", by=user, subject=user.username, where="password page")
        raise ConfigError({field: "This is not your password."}, what="The form")
    guard.succeeded(tried)


@transaction.atomic
def sessions_end(*, user: User, which: Callable[[BrowserSession], bool]) -> int:
    """Sign the person out where `which` says; how many browsers that were."""
    chosen = [session for session in user.sessions.all() if which(session)]
    BrowserSession.objects.filter(pk__in=[session.pk for session in chosen]).delete()
    for session in chosen:
        audit.record("session-ended", by=user, subject=user.username, its_address=session.address)
    return len(chosen)


@transaction.atomic
def first_admin_create(*, username: str, password: str, project_name: str) -> User:
    """A superuser, and the project they start with (the one of that name if it exists)."""
    user = User(username=username, is_staff=True, is_superuser=True)
    user.set_password(password)
    user.full_clean()
    user.save()
    project = Project.objects.filter(name=project_name).first()
    if project is None:
        project_create(name=project_name, by=user)
    else:
        Membership.objects.create(project=project, user=user, role=Role.ADMIN)
        audit.record(
            "member-joined", by=user, project=project, subject=user.username, role=Role.ADMIN
        )
    return user
