"""Distillation: the proxy guidance of ASG (Chen et al., ICML 2020), the style invariance of GCISG (Nam et al., 2022).

Hinton et al. (2015) take the cross-entropy with the teacher's probabilities; KL differs from it by the teacher's own
entropy, so that gradients are the same and equal classifiers give zero. Departs from them in the temperature: who wants
one divides the logits by it.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def distillation(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Mean over the batch of KL(teacher || student) = sum_c p_teacher(c) (log p_teacher(c) - log p_student(c)).

    Args:
        student_logits: (N, classes).
        teacher_logits: (N, classes).

    Returns:
        A scalar in nats.
    """
    student, teacher = F.log_softmax(student_logits, dim=1), F.log_softmax(teacher_logits, dim=1)
    return (teacher.exp() * (teacher - student)).sum(dim=1).mean()
